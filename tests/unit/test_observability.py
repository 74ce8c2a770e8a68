"""Alarms and dashboard: their metrics exist, and each alarm goes off exactly when it must."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from geminichat import metrics
from infra.template import ROOT
from tests.support.alarms import NESTED, STAGE, VALUES, Alarm, Metric, Minutes, alarms, evaluate
from tests.support.template import FUNCTIONS, TEMPLATE

ALARMS = {alarm.name: alarm for alarm in alarms()}
OURS = set(metrics.Values.__annotations__)

AWS_METRICS: Mapping[str, set[str]] = {
    "AWS/SQS": {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateAgeOfOldestMessage",
    },
    "AWS/Lambda": {"Errors", "Invocations", "Throttles", "ConcurrentExecutions"},
    "AWS/ApiGateway": {"4xx", "5xx", "Count", "Latency"},
}
"""AWS's own metrics as its documentation names them; those of an HTTP API are lower case."""

every_alarm = pytest.mark.parametrize("alarm", ALARMS.values(), ids=ALARMS)


def ours(name: str) -> Metric:
    return Metric("geminichat", name, (("stage", STAGE),))


def of_function(name: str, function: str) -> Metric:
    return Metric("AWS/Lambda", name, (("FunctionName", function),))


def of_api(name: str) -> Metric:
    return Metric("AWS/ApiGateway", name, (("ApiId", "ApiId"),))


def of_queue(name: str, queue: str) -> Metric:
    return Metric("AWS/SQS", name, (("QueueName", queue),))


def age_in(queue: str) -> Metric:
    return of_queue("ApproximateAgeOfOldestMessage", queue)


HOUR: Minutes = [None] * 60
SWEEPS: dict[Metric, Minutes] = {of_function("Invocations", "SweepName"): [1] * 60}

GOES_OFF: list[tuple[str, str, dict[Metric, Minutes]]] = [
    ("dead-letters", "one dead letter", {ours("DeadLetters"): [*HOUR, 1]}),
    (
        "title-dead-letters",
        "one dead letter",
        {of_queue("ApproximateNumberOfMessagesVisible", "TitleDeadLettersQueueName"): [0, 1]},
    ),
    ("exports-failed", "too large", {ours("ExportsFailed"): [1]}),
    (
        "exports-failed",
        "crashed",
        {of_queue("ApproximateNumberOfMessagesVisible", "ExportDeadLettersQueueName"): [0, 1]},
    ),
    ("spending", "four fifths of the budget", {ours("SpendingShare"): [79, 80]}),
    ("oldest-prompt", "15 minutes", {age_in("PromptsQueueName"): [899, 900]}),
    ("oldest-prompt", "15 minutes, pro", {age_in("ProPromptsQueueName"): [899, 900]}),
    (
        "oldest-prompt",
        "an hour, pro",
        {age_in("ProPromptsQueueName"): [3600], ours("PromptsAnswered"): [9]},
    ),
    ("worker-errors", "breaks off, twice in 5 minutes", {ours("WorkerErrors"): [1, None, 2]}),
    (
        "worker-errors",
        "crashes, twice in 5 minutes",
        {of_function("Errors", "WorkerName"): [1, 0, 0, 0, 1]},
    ),
    ("sweep-stopped", "no sweep", {}),
    ("sweep-stopped", "none for ten minutes", {next(iter(SWEEPS)): [*[1] * 50, *[None] * 10]}),
    ("sweep-stopped", "all fail", {**SWEEPS, of_function("Errors", "SweepName"): [1] * 60}),
    ("gemini-failing", "all fail", {ours("GeminiFailures"): [2, 3]}),
    (
        "gemini-failing",
        "half fail",
        {ours("GeminiFailures"): [50], ours("PromptsAnswered"): [50]},
    ),
    ("gemini-refuses", "one refusal", {ours("GeminiRefusals"): [1]}),
    ("models", "one concern", {ours("ModelConcerns"): [1]}),
    ("redis-down", "five", {ours("RedisUnavailable"): [2, None, 3]}),
    ("webhook-failures", "three", {ours("WebhooksFailed"): [1, 1, *[None] * 10, 1]}),
    ("webhook-failures", "three crashes", {of_function("Errors", "WebhookName"): [1, 1, 1]}),
    ("texts", "80 %", {ours("TextsShare"): [10, 80]}),
    ("notices-failed", "one notice", {ours("NoticesFailed"): [1]}),
    ("purge-failed", "45 minutes", {ours("PurgesFailed"): [1, *[None] * 20, 1, *[None] * 14, 1]}),
    ("purge-failed", "crashes", {of_function("Errors", "PurgeName"): [0, 1, *[0] * 14, 1, 0] * 3}),
    ("logins-failed", "100 in five minutes", {ours("LoginsFailed"): [40, 40, 20]}),
    ("codes-failed", "100 in five minutes", {ours("CodesFailed"): [50, 50]}),
    ("sign-ups", "500 in five minutes", {ours("SignUps"): [250, 250]}),
    ("reconcile-failed", "once", {of_function("Errors", "ReconcileName"): [1]}),
    ("server-errors", "6 of 100", {of_api("5xx"): [6, 6], of_api("Count"): [100, 100]}),
    ("server-errors", "all of 3", {of_api("5xx"): [3, 0, 3], of_api("Count"): [3, 1, 3]}),
    ("connections", "five", {ours("ConnectionsFailed"): [2, 3]}),
    ("throttles", "two minutes", {Metric("AWS/Lambda", "Throttles"): [1, 0, 1]}),
]

STAYS_OK: list[tuple[str, str, dict[Metric, Minutes]]] = [
    ("dead-letters", "none in the last minute", {ours("DeadLetters"): [3, None]}),
    (
        "dead-letters",
        "another stage",
        {Metric("geminichat", "DeadLetters", (("stage", "x"),)): [1]},
    ),
    (
        "title-dead-letters",
        "a prompt's dead letter",
        {of_queue("ApproximateNumberOfMessagesVisible", "DeadLettersQueueName"): [1]},
    ),
    ("exports-failed", "ready", {ours("ExportsReady"): [9]}),
    ("spending", "79 % of the budget", {ours("SpendingShare"): [79, 79]}),
    ("oldest-prompt", "14 minutes", {age_in("PromptsQueueName"): [899]}),
    (
        "oldest-prompt",
        "many slow prompts",
        {age_in("PromptsQueueName"): [9999], ours("PromptsFailed"): [1, *[None] * 9]},
    ),
    ("worker-errors", "once", {ours("WorkerErrors"): [5, None, None]}),
    ("sweep-stopped", "one late", {next(iter(SWEEPS)): [*[1] * 55, *[None] * 5]}),
    ("gemini-failing", "four of four", {ours("GeminiFailures"): [4]}),
    ("gemini-failing", "a third", {ours("GeminiFailures"): [50], ours("PromptsAnswered"): [100]}),
    ("gemini-refuses", "an outage", {ours("GeminiFailures"): [100]}),
    ("models", "no concern", {ours("ModelConcerns"): [0]}),
    ("redis-down", "four", {ours("RedisUnavailable"): [4]}),
    ("texts", "79 %", {ours("TextsShare"): [79]}),
    ("logins-failed", "99", {ours("LoginsFailed"): [99]}),
    ("purge-failed", "one bad run", {ours("PurgesFailed"): [100, *[0] * 20]}),
    ("webhook-failures", "two", {ours("WebhooksFailed"): [2]}),
    ("webhook-failures", "unsigned junk", {ours("WebhooksRefused"): [1000]}),
    ("server-errors", "5 of 100", {of_api("5xx"): [5, 5], of_api("Count"): [100, 100]}),
    ("server-errors", "both of two", {of_api("5xx"): [2, 2], of_api("Count"): [2, 2]}),
    ("server-errors", "one bad minute", {of_api("5xx"): [9, 0], of_api("Count"): [9, 9]}),
    ("connections", "any number of invalid tickets", {ours("ConnectionsRefused"): [1000]}),
    ("connections", "four", {ours("ConnectionsFailed"): [4]}),
    ("throttles", "one minute", {Metric("AWS/Lambda", "Throttles"): [7, 0]}),
]


@pytest.mark.parametrize(("name", "why", "recorded"), GOES_OFF, ids=lambda value: str(value)[:40])
def test_an_alarm_goes_off_in_its_example_case(
    name: str, why: str, recorded: dict[Metric, Minutes]
) -> None:
    assert ALARMS[name].is_in_alarm(recorded), why


@pytest.mark.parametrize(("name", "why", "recorded"), STAYS_OK, ids=lambda value: str(value)[:40])
def test_an_alarm_stays_ok_in_its_counterexample(
    name: str, why: str, recorded: dict[Metric, Minutes]
) -> None:
    assert not ALARMS[name].is_in_alarm(recorded), why


@every_alarm
def test_every_alarm_has_an_example_case(alarm: Alarm) -> None:
    assert any(name == alarm.name for name, _, _ in GOES_OFF)


@every_alarm
def test_only_the_alarm_on_missing_sweeps_goes_off_without_data(alarm: Alarm) -> None:
    assert alarm.is_in_alarm({}) == (alarm.name == "sweep-stopped")


@every_alarm
def test_an_alarm_uses_metrics_that_exist(alarm: Alarm) -> None:
    for metric in alarm.metrics.values():
        assert_measured(metric.namespace, metric.name, dict(metric.dimensions))


def assert_measured(namespace: str, name: str, dimensions: Mapping[str, str]) -> None:
    if namespace == metrics.NAMESPACE:
        assert name in OURS
        assert dimensions == {"stage": STAGE}
    else:
        assert name in AWS_METRICS[namespace]


def test_the_dashboard_shows_every_metric_of_the_namespace_and_only_existing_metrics() -> None:
    shown = list(list_shown_metrics())
    for namespace, name, dimensions in shown:
        assert_measured(namespace, name, dimensions)
    assert OURS - {name for _, name, _ in shown} <= {"DeadLetters"}, (
        "add the metric to the dashboard"
    )


def list_shown_metrics() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield every metric of the dashboard; "." and "..." repeat words of the previous metric."""
    body = VALUES.resolve(NESTED["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    for widget in json.loads(body)["widgets"]:
        before: list[Any] = []
        for line in widget["properties"].get("metrics", []):
            words = [word for word in line if isinstance(word, str)]
            if words == ["..."]:
                words = before
            words = [before[n] if word == "." else word for n, word in enumerate(words)]
            before = words
            yield words[0], words[1], dict(zip(words[2::2], words[3::2], strict=True))


@every_alarm
def test_an_alarm_notifies_the_topic_and_has_its_entry_in_the_runbook(alarm: Alarm) -> None:
    assert alarm.properties["AlarmActions"] == alarm.properties["OKActions"] == ["topic"]
    assert f"RUNBOOK.md, {alarm.name}." in alarm.properties["AlarmDescription"]
    runbook = (ROOT / "RUNBOOK.md").read_text()
    entry = re.search(rf"^## {alarm.name}\n(.*?)(?=^## |\Z)", runbook, re.MULTILINE | re.DOTALL)
    assert entry, "every alarm has an entry"
    for part in ("**Means.**", "**Look.**", "**Do.**"):
        assert part in entry[1]


def test_the_runbook_has_no_entry_without_an_alarm() -> None:
    entries = re.findall(r"^## ([a-z-]+)$", (ROOT / "RUNBOOK.md").read_text(), re.MULTILINE)
    assert set(entries) - {"budget"} == set(ALARMS)


def test_a_gradual_deployment_names_alarms_that_exist() -> None:
    preference = TEMPLATE["Globals"]["Function"]["DeploymentPreference"]
    names = [VALUES.resolve(name) for name in preference["Alarms"]]
    assert {f"geminichat-{STAGE}-{name}" for name in ALARMS} >= set(names)


def test_the_nested_template_gets_every_parameter_and_only_existing_functions() -> None:
    given = TEMPLATE["Resources"]["Observability"]["Properties"]["Parameters"]
    assert set(given) == set(NESTED["Parameters"])
    functions = {
        value["Ref"] for name, value in given.items() if name.endswith("Name") and "Ref" in value
    }
    assert functions <= set(FUNCTIONS)


def test_a_metric_is_one_line_in_the_embedded_metric_format(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics.emit(PromptsAnswered=1, ReplySeconds=2.5)
    line = json.loads(capsys.readouterr().out)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "geminichat"
    assert directive["Dimensions"] == [["stage"]]
    assert {each["Name"]: each["Unit"] for each in directive["Metrics"]} == {
        "PromptsAnswered": "Count",
        "ReplySeconds": "Seconds",
    }
    assert line["PromptsAnswered"] == [1]
    assert line["ReplySeconds"] == [2.5]


@pytest.mark.parametrize(
    ("expression", "values", "result"),
    [
        ("IF(a >= 3, 100 * a / b, 0)", {"a": 3.0, "b": 12.0}, 25),
        ("IF(a >= 3, 100 * a / b, 0)", {"a": 2.0, "b": 0.0}, 0),
        ("IF(a >= 3, 100 * a / b, 0)", {"a": None, "b": 7.0}, None),
        ("FILL(a, 0) - FILL(b, 0)", {"a": 5.0, "b": None}, 5),
    ],
)
def test_metric_math_gives_the_same_results_as_cloudwatch(
    expression: str, values: dict[str, float | None], result: float | None
) -> None:
    assert evaluate(expression, values) == result
