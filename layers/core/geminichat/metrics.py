"""Metrics: numbers that CloudWatch reads from log lines (its embedded metric format).

No network call is made. Powertools' metrics are not used: they take 2 ms to import.

This module names every metric; infra/observability.yaml has the dashboard and the alarms.
"""

import time
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

import msgspec

from geminichat.config import setting

NAMESPACE = "geminichat"


class Values(TypedDict, total=False):
    """The metrics: …Seconds are in seconds, …Share in percent, and all others are counts."""

    PromptsAccepted: int
    PromptsRefused: int
    """Prompts that were refused because a limit was reached."""
    SpendingShare: int
    """The percentage of the stage's daily cap that is spent or reserved at a sweep."""
    StageLimitRefusals: int
    """Prompts that were refused because all users together have reached the stage's daily cap."""
    PromptsAnswered: int
    PromptsStopped: int
    """Prompts that their users stopped, queued ones included."""
    PromptsFailed: int
    """Prompts that failed, with an error that the user can read."""
    TitlesGenerated: int
    TitlesFailed: int
    """Titles that Gemini failed to generate; the room's title remains the prompt's first words."""
    PromptsRequeued: int
    """Prompts that the sweep queued again, because their queue message was lost."""
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
    """Attempts that failed because Gemini was down or overloaded, not because of the prompt."""
    GeminiRefusals: int
    """Attempts that failed due to the API key, billing, location or model: operators must act."""
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
    """WebSockets that clients opened for live replies."""
    ConnectionsRefused: int
    """WebSockets that were refused because their ticket or their origin was invalid."""
    ConnectionsFailed: int
    """WebSocket handshakes and messages that failed for a reason on our side."""
    SignUps: int
    LoginsFailed: int
    """Wrong passwords."""
    CodesFailed: int
    """Wrong codes."""
    NoticesFailed: int
    """Undelivered notices about a changed password or identity."""
    TextsShare: int
    """The used percentage of the stage's daily limit on SMS."""
    UsersPurged: int
    PurgesFailed: int
    """User purges that failed at a step; the next run repeats that step."""
    ExportsReady: int
    ExportsFailed: int
    """Archives that could not be written: too large, or failed at each attempt."""
    WebhookLagSeconds: float
    """The time from an event's creation at Stripe to its handling here."""


def emit(**values: Unpack[Values]) -> None:
    """Write one line in the embedded metric format; safe to call from threads."""
    _write({}, values)


def emit_code_sent(kind: str, country: str) -> None:
    """Count a sent code; `kind` and `country` are those of the identity."""
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
