"""Metrics: numbers that CloudWatch reads out of log lines; no call is made.

Every metric has its name here. infra/observability.yaml draws them and raises alarms on them.
"""

from typing import TypedDict, Unpack, cast

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from geminichat.config import setting

NAMESPACE = "geminichat"


class Values(TypedDict, total=False):
    """What is measured: counts, and seconds where the name ends so."""

    PromptsAccepted: int
    PromptsRefused: int
    """A daily limit was reached."""
    PromptsAnswered: int
    PromptsFailed: int
    """They ended with an error that their user can read."""
    PromptsRequeued: int
    """The sweep found them stored and not on their way."""
    DeadLetters: int
    """How many there are, as of a sweep."""
    InputTokens: int
    OutputTokens: int
    ReplySeconds: float
    """From a prompt's arrival to its reply."""
    GeminiSeconds: float
    """How long Gemini took for a reply."""
    GeminiFailures: int
    """Attempts that a later one may make good."""
    WorkerErrors: int
    """Attempts that broke off for a reason that is ours: a table, a bug."""
    CacheHits: int
    CacheMisses: int
    RedisUnavailable: int
    WebhooksHandled: int
    WebhooksRefused: int
    """Their signature did not hold."""
    WebhooksFailed: int
    """They were signed, and not handled: Stripe sends them again."""
    PlansMended: int
    """The nightly comparison with Stripe found what a lost event left."""
    WebhookLagSeconds: float
    """From an event at Stripe to its handling here."""


def emit(**values: Unpack[Values]) -> None:
    """Write one line in the embedded metric format; safe to call from threads."""
    batch = EphemeralMetrics(namespace=NAMESPACE)
    batch.add_dimension("stage", setting("STAGE"))
    for name, value in cast("dict[str, float]", values).items():
        unit = MetricUnit.Seconds if name.endswith("Seconds") else MetricUnit.Count
        batch.add_metric(name, unit, value)
    batch.flush_metrics()
