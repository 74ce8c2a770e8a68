"""Settings and secrets, read once per sandbox.

A setting is an environment variable that the template declares. A secret is an SSM SecureString
parameter, and a setting holds the parameter's name. A secret is fetched at first use, one call per
parameter, and again after five minutes, so that a sandbox learns of a rotated key.
"""

import functools
import os
import time
from typing import TYPE_CHECKING

import msgspec

from geminichat.domain.signing import SigningKeys, StoredKeys
from geminichat.runtime import clock

if TYPE_CHECKING:
    from geminichat.domain.models import Catalogue
    from geminichat.domain.plans import Plan
    from geminichat.domain.quota import Burst, PlanLimits
    from geminichat.domain.spending import StageCap

VERSION = "0.1.0"
"""The version of this release; pyproject.toml says the same."""

SECRET_LIFETIME = 300.0
"""Seconds for which a fetched secret is used before it is fetched again."""


def setting(name: str) -> str:
    """Return the environment variable `name`. Raises RuntimeError if it is missing."""
    value = os.environ.get(name)
    if value is None:
        raise RuntimeError(f"The setting {name} is missing: declare it in template.yaml.")
    return value


def number(name: str) -> int:
    """Return the setting `name` as an integer."""
    return int(setting(name))


def micro_dollars(name: str) -> int:
    """Return an amount in micro-dollars; the setting `name` holds it in US dollars."""
    from geminichat.domain.money import MILLION  # few functions need amounts

    return round(float(setting(name)) * MILLION)


def has_console() -> bool:
    """Return whether the API serves the chat console."""
    return setting("CONSOLE") == "true"


def console_link(page: str) -> str:
    """Return the path of a page of the console; "" if there is no console."""
    return f"/#/{page}" if has_console() else ""


def burst_limit() -> "Burst":
    """Return the burst limit: the most prompts per user in a short window of time."""
    from geminichat.domain.quota import Burst  # most functions do not need limits on prompts

    return Burst(prompts=number("BURST_PROMPTS"), seconds=number("BURST_SECONDS"))


def plan_limits() -> dict["Plan", "PlanLimits"]:
    from geminichat.domain.plans import Plan
    from geminichat.domain.quota import PlanLimits

    return {
        Plan.BASIC: PlanLimits(
            attempts=number("BASIC_ATTEMPTS"),
            in_flight=number("BASIC_IN_FLIGHT"),
            spending=micro_dollars("BASIC_DAILY_DOLLARS"),
        ),
        Plan.PRO: PlanLimits(
            attempts=number("PRO_ATTEMPTS"),
            in_flight=number("PRO_IN_FLIGHT"),
            spending=micro_dollars("PRO_DAILY_DOLLARS"),
        ),
    }


def stage_cap() -> "StageCap":
    """Return the limit on the daily spending of all users together."""
    from geminichat.domain.spending import StageCap

    return StageCap(micro_dollars("STAGE_DAILY_DOLLARS"))


@functools.cache
def catalogue() -> "Catalogue":
    """Return the catalogue of models with the operator's changes.

    Raises ValueError if the changed catalogue is invalid.
    """
    from geminichat.domain.catalogue import SHIPPED  # few functions need these
    from geminichat.domain.models import Catalogue

    patch = setting("MODELS_PATCH")
    return Catalogue.read(SHIPPED, msgspec.json.decode(patch) if patch else None)


@functools.cache
def common_passwords() -> frozenset[str]:
    """Return the most common passwords, in lower case."""
    from pathlib import Path

    path = Path(__file__).with_name("domain") / "common_passwords.txt"
    lines = path.read_text("ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


class _Fetched(msgspec.Struct, frozen=True):
    value: str
    until: float


_fetched: dict[str, _Fetched] = {}


def secret(setting_name: str) -> str:
    """Return the secret in the SSM parameter that the setting names, cached for five minutes.

    If SSM fails, the last known value remains in use.
    """
    parameter = setting(setting_name)
    known = _fetched.get(parameter)
    now = time.monotonic()
    if known and now < known.until:
        return known.value
    try:
        value = _read_parameter(parameter)
    except Exception:
        if known is None:
            raise
        value = known.value
    _fetched[parameter] = _Fetched(value, now + SECRET_LIFETIME)
    return value


def forget_secrets() -> None:
    """Drop all cached secrets, so that the next use fetches them."""
    _fetched.clear()


def _read_parameter(name: str) -> str:
    from geminichat.runtime import aws_client  # functions without secrets do not need it

    ssm = aws_client.Client("ssm", connect=1, read=2, attempts=3)
    answer = ssm.call("GetParameter", {"Name": name, "WithDecryption": True})
    return str(answer["Parameter"]["Value"])


def signing_keys() -> SigningKeys:
    """Return the keys that sign and verify tokens now."""
    return _parse_keys(secret("SIGNING_KEYS_PARAMETER")).select(clock.now())


@functools.lru_cache(maxsize=1)
def _parse_keys(text: str) -> StoredKeys:
    return StoredKeys.read(text)
