"""Metrics: numbers that CloudWatch reads from log lines (its embedded metric format).

No call is made. Powertools' metrics are not imported: they cost most functions 2 ms.

Every metric is named here. infra/observability.yaml draws them and raises alarms on them.
"""

import time
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

import msgspec

from geminichat.config import setting

NAMESPACE = "geminichat"


class Values(TypedDict, total=False):
    """The metrics: counts, and seconds where the name ends in Seconds."""

    PromptsAccepted: int
    PromptsRefused: int
    """Prompts that were refused because a limit was reached."""
    SpendingShare: int
    """How much of the stage's daily cap is spent or reserved, in percent, at a sweep."""
    StageLimitRefusals: int
    """Prompts that were refused because all users together have reached the stage's daily cap."""
    PromptsAnswered: int
    PromptsStopped: int
    """Prompts that their users stopped, queued ones included."""
    PromptsFailed: int
    """Prompts that ended with an error, which their users can read."""
    TitlesGenerated: int
    TitlesFailed: int
    """Titles that Gemini did not generate: the prompt's first words stay."""
    PromptsRequeued: int
    """Prompts whose queue message was lost, found by the sweep."""
    DeadLetters: int
    """The number of dead letters at a sweep."""
    InputTokens: int
    OutputTokens: int
    ReplySeconds: float
    """The time from a prompt's arrival to its reply."""
    FirstTextSeconds: float
    """The time from a prompt's arrival to the first text of its reply."""
    Frames: int
    """Frames that were posted to one connection during one attempt."""
    FramesRefused: int
    """Frames that were not delivered: the connection was gone, throttled or did not answer."""
    GeminiSeconds: float
    """The time that Gemini took for a reply."""
    GeminiFailures: int
    """Attempts that failed because Gemini was down or overloaded, whatever the prompt was."""
    GeminiRefusals: int
    """Attempts that failed because the operator has to act: key, billing, location, a model."""
    ModelConcerns: int
    """Models that retire soon or that Google does not serve, as of the daily check."""
    WorkerErrors: int
    """Attempts that failed for a reason on our side, such as a table or a bug."""
    CacheHits: int
    CacheMisses: int
    RedisUnavailable: int
    WebhooksHandled: int
    WebhooksRefused: int
    """Stripe's events with an invalid signature."""
    WebhooksFailed: int
    """Stripe's events that were signed but not handled; Stripe sends them again."""
    PlansFixed: int
    """Plans that the nightly comparison with Stripe corrected after a lost event."""
    ConnectionsOpened: int
    """WebSockets on which replies are watched."""
    ConnectionsRefused: int
    """WebSockets that were refused because their ticket or their origin was invalid."""
    ConnectionsFailed: int
    """Handshakes and messages that failed for a reason on our side."""
    SignUps: int
    LoginsFailed: int
    """Wrong passwords."""
    CodesFailed: int
    """Wrong codes."""
    NoticesFailed: int
    """Notices about changed login factors that could not be sent."""
    TextsShare: int
    """Texts sent today, in percent of the stage's daily limit."""
    UsersPurged: int
    PurgesFailed: int
    """Purges of users that failed at a step; the next run repeats it."""
    ExportsReady: int
    ExportsFailed: int
    """Archives that could not be written: too large, or failed at each attempt."""
    WebhookLagSeconds: float
    """The time from an event's creation at Stripe to its handling here."""


def emit(**values: Unpack[Values]) -> None:
    """Write one line in the embedded metric format; safe to call from threads."""
    _write({}, values)


def emit_code_sent(kind: str, country: str) -> None:
    """Count a code that is sent, by the kind of its identity and its country."""
    _write({"kind": kind, "country": country or "-"}, {"CodesSent": 1})


def _write(by: Mapping[str, str], values: Mapping[str, Any]) -> None:
    units = {name: "Seconds" if name.endswith("Seconds") else "Count" for name in values}
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["stage"], ["stage", *by]] if by else [["stage"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
    }
    about = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]}
    figures = {name: [value] for name, value in values.items()}
    line = {"_aws": about, "stage": setting("STAGE"), **by, **figures}
    print(msgspec.json.encode(line).decode() + "\n", end="", flush=True)
