"""Alarms as CloudWatch evaluates them over recorded data, metric math included.

The emulated AWS refuses metric math and ignores dimensions, so tests evaluate alarms here.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.template import ROOT, load
from tests.support.template import TEMPLATE, Properties, Values

NESTED = load(ROOT / "infra" / "observability.yaml")
STAGE = "prod"


def _values() -> Values:
    """Return values for the nested template; most parameters have their name as value."""
    given = TEMPLATE["Resources"]["Observability"]["Properties"]["Parameters"]
    names = {name: name for name in given} | {"Stage": STAGE, "AwsEndpoint": "", "MonthlyBudget": 9}
    refs = {"AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "Alerts": "topic"}
    return Values(names | refs, {})


VALUES = _values()

STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
    "SampleCount": len,
}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


@dataclass(frozen=True)
class Metric:
    """A metric as CloudWatch identifies it."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, stat: Properties) -> "Metric":
        """Return the metric that is named in these properties of an alarm."""
        found = sorted((each["Name"], str(each["Value"])) for each in stat.get("Dimensions", []))
        return cls(stat["Namespace"], stat["MetricName"], tuple(found))


type Minutes = Sequence[float | None]
"""A metric's values per minute, the latest last; None for a minute without data."""
type Recorded = Mapping[Metric, Minutes]


@dataclass(frozen=True)
class Alarm:
    """An alarm of infra/observability.yaml, with resolved references."""

    logical_id: str
    properties: Properties

    @property
    def name(self) -> str:
        """The alarm's name without the stage: the title of its entry in RUNBOOK.md."""
        return str(self.properties["AlarmName"]).removeprefix(f"geminichat-{STAGE}-")

    @property
    def metrics(self) -> dict[str, Metric]:
        """The alarm's metrics by id; an alarm without an expression has one metric, "m"."""
        if "MetricName" in self.properties:
            return {"m": Metric.of(self.properties)}
        return {
            query["Id"]: Metric.of(query["MetricStat"]["Metric"])
            for query in self.properties["Metrics"]
            if "MetricStat" in query
        }

    def is_in_alarm(self, recorded: Recorded) -> bool:
        """Return whether the alarm is in state ALARM after the recorded minutes."""
        periods = int(self.properties["EvaluationPeriods"])
        needed = int(self.properties.get("DatapointsToAlarm") or periods)
        return sum(self._is_breach(recorded, back) for back in range(periods)) >= needed

    def _is_breach(self, recorded: Recorded, back: int) -> bool:
        """Return whether the threshold was breached `back` periods before the last period."""
        value = self._value(recorded, back)
        if value is None:
            return bool(self.properties["TreatMissingData"] == "breaching")
        compare = COMPARISONS[self.properties["ComparisonOperator"]]
        return compare(value, float(self.properties["Threshold"]))

    def _value(self, recorded: Recorded, back: int) -> float | None:
        if "MetricName" in self.properties:
            return _of_period(recorded, self.metrics["m"], self.properties, back)
        values: dict[str, float | None] = {}
        expression = ""
        for query in self.properties["Metrics"]:
            if "Expression" in query:
                expression = query["Expression"]
            else:
                stat = query["MetricStat"]
                values[query["Id"]] = _of_period(recorded, self.metrics[query["Id"]], stat, back)
        if all(value is None for value in values.values()):
            return None  # no data in this period
        return evaluate(expression, values)


def alarms() -> list[Alarm]:
    """Return every alarm of infra/observability.yaml."""
    return [
        Alarm(name, VALUES.resolve(resource["Properties"]))
        for name, resource in NESTED["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]


def _of_period(recorded: Recorded, metric: Metric, stat: Properties, back: int) -> float | None:
    minutes = int(stat["Period"]) // 60
    seen = list(recorded.get(metric, []))
    silence: list[float | None] = [None] * (minutes * (back + 1) - len(seen))
    seen = silence + seen
    end = len(seen) - minutes * back
    values = [value for value in seen[end - minutes : end] if value is not None]
    return STATISTICS[str(stat.get("Stat") or stat["Statistic"])](values) if values else None


ARITHMETIC: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
}


def evaluate(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Return the value of a metric math expression for a period; None if there is no data.

    The alarms use numbers, metrics, + - * /, comparisons, IF and FILL; nothing else is supported.
    """

    def of(node: ast.expr) -> float | None:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return values[name]
            case ast.Call(func=ast.Name(id="FILL"), args=[filled, default]):
                value = of(filled)
                return of(default) if value is None else value
            case ast.Call(func=ast.Name(id="IF_"), args=[condition, then, otherwise]):
                holds = of(condition)
                return None if holds is None else of(then if holds else otherwise)
            case ast.BinOp(left=left, op=sign, right=right):
                return apply(sign, left, right)
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                return apply(sign, left, right)
        raise ValueError(f"Unsupported metric math: {ast.unparse(node)}")

    def apply(sign: ast.AST, left: ast.expr, right: ast.expr) -> float | None:
        one, other = of(left), of(right)
        if one is None or other is None:
            return None
        return float(ARITHMETIC[type(sign)](one, other))

    readable = re.sub(r"\bIF\(", "IF_(", expression)
    return of(ast.parse(readable, mode="eval").body)
