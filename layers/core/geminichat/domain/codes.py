"""One-time codes: six digits that prove an identity, for one purpose, once.

An identity has several codes at a time, one per request, so that no request invalidates the code
of another caller. A request is identified by its challenge, which the caller sends with the code.
"""

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geminichat.domain import ids, limits
from geminichat.domain.addresses import network
from geminichat.domain.devices import DeviceToken
from geminichat.domain.identities import Identified, Identity
from geminichat.domain.limits import Pause, Window
from geminichat.domain.times import millis
from geminichat.errors import TooManyRequests

DIGITS = 6
LIFETIME = timedelta(minutes=10)
PAUSE = timedelta(seconds=30)
HOUR = timedelta(hours=1)

SENDS = 5
"""Codes that one caller may request for an identity per hour, with a pause between them."""
SENDS_OF_ALL = 10
"""After this many codes per identity and hour, callers without a device token get one code each."""
MOST_SENDS = 60
"""After this many codes per identity and hour, only callers with a device token get a code."""

TRIES = 5
"""Tries per challenge. Without a challenge: tries per caller, identity and hour."""
TRIES_OF_CALLER = 9
"""Tries per caller, identity and hour with all challenges together."""
TRIES_OF_DEVICE = 20
"""Tries per device token and hour."""
WRONG_IN_A_ROW = 100
"""After this many wrong codes in a row from callers without a device token, an identity's codes are
switched off for a day (NIST SP 800-63B, 5.2.2)."""

CHALLENGE = r"c_[a-z2-7]{26}"

type Challenge = Annotated[str, Meta(pattern=f"^{CHALLENGE}$", max_length=40)]
type Otp = Annotated[str, Meta(max_length=20, pattern=r"^ *([0-9] *){6}$(?!\n)")]
"""Six digits; spaces between them are ignored."""


class Purpose(StrEnum):
    """The action that a code permits; a code serves only its own purpose."""

    LOGIN = "login"
    LINK = "link"
    CONFIRM = "confirm"
    RESET = "reset"


class CodeRequest(Identified, frozen=True, kw_only=True):
    """An identity to which a code is sent."""

    purpose: Literal["login", "link", "confirm"] = "login"
    device_token: DeviceToken | None = None


class ResetRequest(Identified, frozen=True, kw_only=True):
    """A request for a code that resets the password of an identity's account."""

    device_token: DeviceToken | None = None


class CodeSent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The lifetime of a code in seconds, and its challenge; in development also the code."""

    expires_in: int = int(LIFETIME.total_seconds())
    challenge: str
    otp: str | UnsetType = UNSET


class SentCode(msgspec.Struct, frozen=True):
    """A sent code as the table stores it."""

    challenge: str
    digest: str
    kid: str
    purpose: str
    sent_at: int
    """Milliseconds since 1970."""
    sender: str
    """The caller who requested the code, as `name_caller` returns it."""

    def is_unexpired(self, now: datetime) -> bool:
        """Return whether the code has not expired."""
        return millis(now) < self.sent_at + LIFETIME // timedelta(milliseconds=1)

    @property
    def device_id(self) -> str | None:
        """The id of the device that requested the code; None if the caller had no device token."""
        kind, _, device_id = self.sender.partition(":")
        return device_id if kind == "device" else None


class NewCode(msgspec.Struct, frozen=True, kw_only=True):
    """A new code, which is stored first and then sent."""

    identity: Identity
    purpose: Purpose
    code: str
    challenge: str
    sender: str
    now: datetime


class Proof(msgspec.Struct, frozen=True):
    """A verified code; the transaction that relies on the proof marks the code as used."""

    identity: Identity
    challenge: str


def name_caller(source: str, device_id: str | None) -> str:
    """Return a name for a caller: the device's id, or a hash of the IP address's network."""
    if device_id:
        return f"device:{device_id}"
    return f"network:{hashlib.sha256(network(source).encode()).hexdigest()[:16]}"


def generate(
    identity: Identity,
    purpose: Purpose,
    caller: str,
    now: datetime,
    below: Callable[[int], int] = secrets.randbelow,
) -> NewCode:
    """Return a new random code."""
    return NewCode(
        identity=identity,
        purpose=purpose,
        code=f"{below(10**DIGITS):0{DIGITS}}",
        challenge=ids.new("c"),
        sender=caller,
        now=now,
    )


def require_sendable(sent: Sequence[SentCode], caller: str, now: datetime) -> None:
    """Check that one more code may be sent to an identity. Raises TooManyRequests.

    `sent` has the codes of the last hour, oldest first.
    """
    mine = _times(sent, caller, now)
    wait = _wait_until_below(mine, SENDS, now)
    if mine:
        wait = max(wait, mine[-1] + PAUSE // timedelta(milliseconds=1) - millis(now))
    if not caller.startswith("device:"):
        allowed = SENDS_OF_ALL if mine else MOST_SENDS
        wait = max(wait, _wait_until_below(_times(sent, None, now), allowed, now))
    if wait > 0:
        seconds = math.ceil(wait / 1000)
        raise TooManyRequests(
            f"A code was sent recently. Request another code in {seconds} s.",
            retry_after=seconds,
            headers=headers(sent, caller, now),
        )


def headers(sent: Sequence[SentCode], caller: str, now: datetime) -> Mapping[str, str]:
    """Return the headers RateLimit and RateLimit-Policy for the caller's own requests."""
    mine = _times(sent, caller, now)
    pause = max(0, math.ceil((mine[-1] - millis(now)) / 1000 + PAUSE.seconds)) if mine else 0
    hour = math.ceil((mine[0] - millis(now)) / 1000 + HOUR.seconds) if mine else 0
    left = max(0, SENDS - len(mine))
    return {
        "ratelimit-policy": f'"pause";q=1;w={PAUSE.seconds}, "hour";q={SENDS};w={HOUR.seconds}',
        "ratelimit": f'"pause";r={0 if pause else 1};t={pause}, "hour";r={left};t={hour}',
    }


def digest(code: str, purpose: str, identity: Identity, challenge: str, key: bytes) -> str:
    """Return the keyed hash of a code, bound to its purpose, identity and challenge."""
    derived = hmac.digest(key, b"geminichat code", "sha256")
    bound = f"{purpose} {identity.key} {challenge} {code}"
    return hmac.digest(derived, bound.encode(), "sha256").hex()


def find_match(
    candidates: Iterable[SentCode], otp: str, identity: Identity, keys: Mapping[str, bytes]
) -> SentCode | None:
    """Return the sent code that `otp` matches, or None; compares in constant time."""
    digits = otp.replace(" ", "")
    for sent in candidates:
        key = keys.get(sent.kid)
        if key and hmac.compare_digest(
            digest(digits, sent.purpose, identity, sent.challenge, key), sent.digest
        ):
            return sent
    return None


def candidates(
    sent: Sequence[SentCode], purpose: Purpose, challenge: str | None, caller: str, now: datetime
) -> list[SentCode]:
    """Return the sent codes that a try may match.

    With a challenge: the code of that challenge. Without a challenge: the newest code, and the
    codes that this caller or a device of the account requested. Older codes that strangers
    requested do not count, because each valid code makes guessing easier.
    """
    valid = [one for one in sent if one.purpose == purpose and one.is_unexpired(now)]
    if challenge is not None:
        return [one for one in valid if one.challenge == challenge]
    return [one for one in valid if one.sender == caller or one.device_id or one is valid[-1]]


def tries_of(challenge: str, now: datetime) -> Window:
    """Return the limit on tries with one challenge."""
    ends = int((now + LIFETIME).timestamp())
    return Window(name="challenge", key=f"tries:{challenge}", quota=TRIES, ends_at=ends, span=0)


def wrong_in_a_row(identity: Identity) -> Pause:
    """Return the limit on wrong codes in a row for an identity, from all callers together."""
    day = int(limits.DAY.total_seconds())
    return Pause(
        name="wrong codes",
        key=f"wrong-codes:{identity.digest}",
        quota=WRONG_IN_A_ROW - 1,
        first=day,
        longest=day,
        kept=30 * day,
    )


def refusal(wait: int) -> TooManyRequests:
    """Return the error for an identity with too many wrong codes in a row."""
    return TooManyRequests(
        "Too many wrong codes were entered for this email address or mobile number, so codes are "
        "switched off for a day. Log in with your password, or from a device on which you have "
        "logged in before.",
        retry_after=wait,
    )


def select_recent(sent: Iterable[SentCode], now: datetime) -> list[SentCode]:
    """Return the codes that were sent within the last hour."""
    return [one for one in sent if one.sent_at > millis(now - HOUR)]


def message(purpose: Purpose, code: str, *, known: bool) -> tuple[str, str]:
    """Return the subject and text of the message with a code; the text fits into one SMS.

    A request to reset the password of an identity without an account (not `known`) is answered as
    usual; only the message says that there is no account.
    """
    text = EFFECTS[purpose].format(code=code) + CAUTION
    if purpose is Purpose.RESET and not known:
        text = NO_ACCOUNT_TEXT
    return SUBJECTS[purpose], text


SUBJECTS: Mapping[Purpose, str] = {
    Purpose.LOGIN: "Your login code",
    Purpose.LINK: "Add an email or mobile number to your account",
    Purpose.CONFIRM: "Confirm a change to your account",
    Purpose.RESET: "Reset your password",
}
EFFECTS: Mapping[Purpose, str] = {
    Purpose.LOGIN: "{code} is your code to log in to Gemini Chat.",
    Purpose.LINK: "{code} adds this email address or mobile number to a Gemini Chat account.",
    Purpose.CONFIRM: "{code} confirms a change to your Gemini Chat account.",
    Purpose.RESET: "{code} resets your Gemini Chat password.",
}
CAUTION = " It expires in 10 minutes. Do not share this code."
NO_ACCOUNT_TEXT = (
    "Someone requested a password reset for this email address or mobile number, but Gemini Chat "
    "has no account with it. If it was you, sign up."
)


def _times(sent: Iterable[SentCode], caller: str | None, now: datetime) -> list[int]:
    return [
        one.sent_at for one in select_recent(sent, now) if caller is None or one.sender == caller
    ]


def _wait_until_below(times: Sequence[int], quota: int, now: datetime) -> int:
    """Return the milliseconds until fewer than `quota` of the times are within the last hour."""
    if len(times) < quota:
        return 0
    return times[-quota] - millis(now) + HOUR // timedelta(milliseconds=1)
