"""The parameters of template.yaml that `make up PARAMETERS="Name=value …"` sets."""

import difflib
import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from infra.command import CommandError
from infra.template import load

OWN = (
    "Stage",
    "Architecture",
    "AwsEndpoint",
    "GatewayEndpoint",
    "UpstashUrl",
    "GeminiEndpoint",
    "StripeEndpoint",
    "StripePrice",
)
"""Parameters that `make up` sets itself."""


def parse(text: str) -> dict[str, str]:
    """Return the values by name. Raises CommandError for names and values that are not valid."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"PARAMETERS cannot be read: {error}.") from error
    declared = load()["Parameters"]
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise CommandError(f'{word} has no value: PARAMETERS="{word}=…".')
        if name not in declared:
            raise CommandError(_explain_unknown(name, declared))
        if name in OWN:
            raise CommandError(f"{name} cannot be set: `make up` sets it itself.")
        if problem := _problem(value, declared[name]):
            raise CommandError(f"{name}={value} is not valid: {problem}.")
        values[name] = value
    return values


def _explain_unknown(name: str, declared: Collection[str]) -> str:
    spelled = {known.lower(): known for known in declared}
    close = [spelled[one] for one in difflib.get_close_matches(name.lower(), spelled, cutoff=0.5)]
    hint = f"Did you mean {' or '.join(close)}?" if close else "See its section Parameters."
    return f"template.yaml has no parameter {name}. {hint}"


def _problem(value: str, rules: Mapping[str, Any]) -> str | None:
    """Return the reason why CloudFormation would reject a value, or None."""
    if "AllowedValues" in rules and value not in map(str, rules["AllowedValues"]):
        return f"the value must be one of {', '.join(map(str, rules['AllowedValues']))}"
    if "AllowedPattern" in rules and not re.fullmatch(rules["AllowedPattern"], value):
        return f"the value must match {rules['AllowedPattern']}"
    if len(value) > rules.get("MaxLength", len(value)):
        return f"the value may have {rules['MaxLength']} characters"
    if rules["Type"] == "Number":
        if not re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
            return "the value must be a number"
        if float(value) < rules.get("MinValue", 0):
            return f"the value must be at least {rules['MinValue']}"
        if float(value) > rules.get("MaxValue", float(value)):
            return f"the value must be at most {rules['MaxValue']}"
    return None
