"""One-time codes: six digits that prove an identity, for one purpose, once.

An identity has one code at a time, the newest; what was sent before counts against its limits.
"""

import hmac
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from geminichat.domain.identities import Identified, Identity
from geminichat.errors import TooManyRequests

DIGITS = 6
LIFETIME = timedelta(minutes=10)
TRIES = 5
PAUSE = timedelta(seconds=30)
WINDOW = timedelta(hours=1)
SENDS = 5
"""At most so many codes to an identity in any hour, and a pause between one and the next."""
_WINDOW_MILLIS = WINDOW // timedelta(milliseconds=1)
POLICY = (
    f'"pause";q=1;w={PAUSE // timedelta(seconds=1)}, '
    f'"hour";q={SENDS};w={WINDOW // timedelta(seconds=1)}'
)


class WantedCode(Identified, frozen=True, kw_only=True):
    """An identity that asks for a code."""


class CodeSent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """For how many seconds a code is good; the code itself in development alone."""

    expires_in: int = int(LIFETIME.total_seconds())
    otp: str | UnsetType = UNSET


class Purpose(StrEnum):
    """What a code is good for; one sent for the one is wrong for the other."""

    VERIFY = "verify"
    RESET = "reset"


class Share(NamedTuple):
    """What an address may still ask for within the hour, this code included."""

    limit: int
    left: int
    seconds: int
    """Until the next hour."""


class Sending(msgspec.Struct, frozen=True):
    """A code that may be sent once it is stored."""

    identity: Identity
    purpose: Purpose
    code: str
    at: datetime
    before: Sequence[int]
    """When codes were sent before, as it was known when this one was drawn."""
    share: Share | None = None
    """Of the address that asked; None where those are not limited."""

    @property
    def sends(self) -> list[int]:
        """When codes were sent in the last hour, this one included."""
        return [*_recent(self.before, self.at), millis(self.at)]

    @property
    def good_until(self) -> int:
        """The millisecond at which the code expires."""
        return millis(self.at + LIFETIME)

    def digest(self, key: bytes) -> str:
        """Return what a table keeps of the code."""
        return digest(self.code, self.purpose, self.identity, key)

    def headers(self) -> Mapping[str, str]:
        """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
        return headers(self.sends, self.at, self.share)

    def too_soon(self) -> TooManyRequests:
        """Return the error for when another code was sent since this one was drawn."""
        return _too_soon(self.sends, self.at, PAUSE, self.share)


def draw(
    identity: Identity,
    purpose: Purpose,
    before: Sequence[int],
    now: datetime,
    below: Callable[[int], int] = secrets.randbelow,
    share: Share | None = None,
) -> Sending:
    """Draw a new code, if the sends before it leave room for one. Raises TooManyRequests."""
    wait = _wait(before, now)
    if wait > timedelta():
        raise _too_soon(before, now, wait, share)
    return Sending(identity, purpose, f"{below(10**DIGITS):0{DIGITS}}", now, before, share)


def digest(code: str, purpose: Purpose, identity: Identity, key: bytes) -> str:
    """Return what a table keeps of a code: worthless without the key, which is not in it."""
    derived = hmac.digest(key, b"geminichat code", "sha256")
    return hmac.digest(derived, f"{purpose} {identity.key} {code}".encode(), "sha256").hex()


def is_it(one: str, other: str) -> bool:
    """Compare two digests in constant time."""
    return hmac.compare_digest(one, other)


def millis(moment: datetime) -> int:
    """Return the moment as tables keep it here: milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def _too_soon(
    sends: Sequence[int], now: datetime, wait: timedelta, share: Share | None
) -> TooManyRequests:
    """Return the error for one code more than the limits allow."""
    seconds = math.ceil(wait.total_seconds())
    return TooManyRequests(
        f"A code was sent a moment ago, or too many within the hour. Try again in {seconds} s.",
        retry_after=seconds,
        headers=headers(sends, now, share),
    )


def too_many_from(share: Share) -> TooManyRequests:
    """Return the error for an address from which the hour's codes were asked for."""
    return TooManyRequests(
        f"Too many codes were asked for from this address. Try again in {share.seconds} s.",
        retry_after=share.seconds,
        headers={"ratelimit-policy": _policy_of(share), "ratelimit": _left_of(share)},
    )


def headers(sends: Sequence[int], now: datetime, share: Share | None) -> Mapping[str, str]:
    """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
    recent = _recent(sends, now)
    pause = math.ceil(max(0.0, _pause(recent, now).total_seconds()))
    hour = math.ceil((recent[0] + _WINDOW_MILLIS - millis(now)) / 1000) if recent else 0
    ready, left = (0 if pause else 1), max(0, SENDS - len(recent))
    policy, limits = POLICY, f'"pause";r={ready};t={pause}, "hour";r={left};t={hour}'
    if share:
        policy, limits = f"{policy}, {_policy_of(share)}", f"{limits}, {_left_of(share)}"
    return {"ratelimit-policy": policy, "ratelimit": limits}


def _policy_of(share: Share) -> str:
    return f'"address";q={share.limit};w={WINDOW // timedelta(seconds=1)}'


def _left_of(share: Share) -> str:
    return f'"address";r={share.left};t={share.seconds}'


def message(purpose: Purpose, code: str, *, known: bool) -> tuple[str, str]:
    """Return a message's subject and text; the text alone fits into one SMS.

    A reset that was asked for an identity without an account gets a message too: whoever asked
    learns nothing from the answer, and the owner learns why there is nothing to reset.
    """
    if purpose is Purpose.VERIFY:
        return "Your code", VERIFY_TEXT.format(code=code)
    return "Reset your password", (RESET_TEXT if known else NO_ACCOUNT_TEXT).format(code=code)


VERIFY_TEXT = "{code} is your Gemini Chat code. It is good for 10 minutes. Tell it to nobody."
RESET_TEXT = (
    "{code} resets your Gemini Chat password. It is good for 10 minutes. "
    "If you did not ask for it, do nothing."
)
NO_ACCOUNT_TEXT = (
    "Someone asked to reset a Gemini Chat password here, but there is no such account. "
    "If it was you, sign up."
)


def _wait(sends: Sequence[int], now: datetime) -> timedelta:
    recent = _recent(sends, now)
    wait = _pause(recent, now)
    if len(recent) >= SENDS:
        wait = max(wait, timedelta(milliseconds=recent[-SENDS] - millis(now)) + WINDOW)
    return wait


def _recent(sends: Sequence[int], now: datetime) -> list[int]:
    return [sent for sent in sends if sent > millis(now) - _WINDOW_MILLIS]


def _pause(recent: Sequence[int], now: datetime) -> timedelta:
    if not recent:
        return timedelta()
    return timedelta(milliseconds=recent[-1] - millis(now)) + PAUSE
