"""Accounts: the bodies of /auth and /user, and the answers that show a user and its tokens."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from geminichat.domain import times
from geminichat.domain.codes import Challenge, Otp
from geminichat.domain.devices import DeviceToken
from geminichat.domain.identities import Identified, Identity, either_of
from geminichat.domain.passwords import ChosenPassword, Password, check_form, check_strength
from geminichat.domain.tokens import Tokens
from geminichat.domain.users import Account
from geminichat.errors import InvalidRequest


class NewAccount(Identified, frozen=True, kw_only=True):
    """A sign-up: an email address and a password, or a mobile number with an optional password."""

    password: ChosenPassword | None = None

    json_schema: ClassVar[dict[str, Any]] = either_of(
        {"email": ["email", "password"], "mobile": ["mobile"]}
    )

    def __post_init__(self) -> None:
        """Require a password for an email address: this kind of sign-up sends no code."""
        super().__post_init__()
        if self.email is not None and self.password is None:
            raise InvalidRequest.at({"/password": "A password is required with an email"})
        if self.password is not None:
            check_strength("/password", self.password, self.identity.value)


class Credentials(Identified, frozen=True, kw_only=True):
    """An identity and the password of its account."""

    password: Password
    device_token: DeviceToken | None = None

    def __post_init__(self) -> None:
        """Reject a text that cannot be a password, before it is hashed."""
        super().__post_init__()
        check_form("/password", self.password)


class SignedUp(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new user; after a sign-up with a password, also the tokens of the first session."""

    user: Account
    token: str | UnsetType = UNSET
    token_type: Literal["Bearer"] | UnsetType = UNSET
    expires_in: int | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    refresh_expires_in: int | UnsetType = UNSET
    device_token: str | UnsetType = UNSET
    challenge: str | UnsetType = UNSET
    otp: str | UnsetType = UNSET

    @classmethod
    def of(
        cls, user: Account, tokens: Tokens | None, challenge: str | None, otp: str | UnsetType
    ) -> "SignedUp":
        """Return the answer to a sign-up."""
        return cls(
            user=user,
            challenge=challenge or UNSET,
            otp=otp,
            **(msgspec.structs.asdict(tokens) if tokens else {}),
        )


class GivenCode(Identified, frozen=True, kw_only=True):
    """An identity, the code that was sent to it, and the code's challenge."""

    otp: Otp
    challenge: Challenge | None = None


class LoggedIn(Tokens, frozen=True, kw_only=True):
    """A user and the tokens of a new session."""

    user: Account

    @classmethod
    def of(cls, user: Account, tokens: Tokens) -> "LoggedIn":
        """Return the answer to a login by code."""
        return cls(user=user, **msgspec.structs.asdict(tokens))


class NewPassword(GivenCode, frozen=True, kw_only=True):
    """A new password, and the code that permits it."""

    new_password: ChosenPassword

    def __post_init__(self) -> None:
        """Reject a weak password before the code is compared."""
        super().__post_init__()
        check_strength("/newPassword", self.new_password, self.identity.value)


class FreshProof(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A fresh proof: the current password, or a code sent to an identity of the account."""

    current_password: Password | None = None
    current_otp: Otp | None = None

    def __post_init__(self) -> None:
        """Require either a password or a code, and reject a text that cannot be a password."""
        if self.current_password is not None:
            check_form("/currentPassword", self.current_password)
        if (self.current_password is None) == (self.current_otp is None):
            either = "Expected either currentPassword or currentOtp"
            raise InvalidRequest.at({"/currentPassword": either, "/currentOtp": either})


class Departure(FreshProof, frozen=True, kw_only=True):
    """A request to delete the account, with a fresh proof."""


class ExportRequest(FreshProof, frozen=True, kw_only=True):
    """A request for an export, with a fresh proof."""


class PasswordChange(FreshProof, frozen=True, kw_only=True):
    """A new password, and a fresh proof."""

    new_password: ChosenPassword

    def __post_init__(self) -> None:
        """Reject a weak password; the handler also rejects one that is built from an identity."""
        super().__post_init__()
        check_strength("/newPassword", self.new_password)


class ScheduledPurge(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The time at which an account is deleted, and the data that is kept after that."""

    purge_at: str
    kept: Sequence[str]


class NewIdentity(GivenCode, frozen=True, kw_only=True):
    """An identity to add to an account, the code that was sent to it, and a fresh proof."""

    current_password: Password | None = None
    current_otp: Otp | None = None

    def __post_init__(self) -> None:
        """Validate the identity and the fresh proof."""
        super().__post_init__()
        _ = self.fresh_proof

    @property
    def fresh_proof(self) -> FreshProof:
        """The fresh proof. Raises InvalidRequest."""
        return FreshProof(current_password=self.current_password, current_otp=self.current_otp)


CHANGE_NOTICE = (
    "The password of your Gemini Chat account was changed. If this was not you, reset it now with "
    "a code."
)


def departure_notice(purge_at: str, *, may_return: bool) -> str:
    """Return the notice of a scheduled deletion; if `may_return`, it says how to cancel."""
    day = purge_at[:10]
    if not may_return:
        return f"Your suspended Gemini Chat account will be deleted on {day} with all its data."
    return (
        f"Your Gemini Chat account will be deleted on {day}. To keep it, log in before "
        "then. If you did not ask for this, log in now and change your password."
    )


def export_notice(now: datetime) -> str:
    """Return the notice of a requested export."""
    moment = times.text(now)[:16].replace("T", " ")
    return (
        f"A copy of all data of your Gemini Chat account was requested at {moment} UTC. If this "
        "was not you, change your password now."
    )


def reset_notice(removed: Iterable[Identity]) -> str:
    """Return the notice of a password reset; it names the kinds of identities in `removed`."""
    notice = (
        "Your Gemini Chat password was reset with a code. If this was not you, reset it again now."
    )
    lost = [KINDS[one.kind] for one in removed]
    if not lost:
        return notice
    were, them = ("was", "it") if len(lost) == 1 else ("were", "them")
    named = " and ".join(lost)
    return f"{notice} The {named} added in the last 7 days {were} removed: add {them} again."


def restoration_notice(kind: str) -> str:
    """Return the notice to send after a code has restored a replaced identity."""
    return (
        f"The former {KINDS[kind]} of your Gemini Chat account was restored with a code, and its "
        "replacement was removed. If this was not you, reset your password now with "
        "another email address or mobile number."
    )


KINDS = {"email": "email address", "mobile": "mobile number"}


def identity_notice(kind: str, before: str | None) -> str:
    """Return the notice that the earlier identities get when an identity is added or replaced."""
    name = KINDS[kind]
    if before is None:
        return (
            f"A new {name} was added to your Gemini Chat account. If this was not you, reset your "
            f"password now with a code: this removes the new {name}."
        )
    return (
        f"The {name} of your Gemini Chat account was replaced. If this was not you, restore it "
        f"within 7 days: log in with a code sent to the old {name}."
    )
