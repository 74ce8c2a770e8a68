"""Accounts: what the bodies of /auth may say, and what the wire shows of a user and its tokens."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geminichat.domain.identities import Identified, either_of
from geminichat.domain.passwords import ChosenPassword, Password, check_form, check_strength
from geminichat.domain.tokens import Tokens
from geminichat.domain.users import Account
from geminichat.errors import InvalidRequest


class NewAccount(Identified, frozen=True, kw_only=True):
    """A sign-up: an email address and a password, or a mobile number with or without one."""

    password: ChosenPassword | None = None

    json_schema: ClassVar[dict[str, Any]] = either_of(
        {"email": ["email", "password"], "mobile": ["mobile"]}
    )

    def __post_init__(self) -> None:
        """Want a password where there is an email: nothing else would let its owner in."""
        super().__post_init__()
        if self.email is not None and self.password is None:
            raise InvalidRequest.at({"/password": "An email needs a password beside it"})
        if self.password is not None:
            check_strength("/password", self.password, self.identity.value)


class Credentials(Identified, frozen=True, kw_only=True):
    """An identity and the password that is claimed to belong to it."""

    password: Password

    def __post_init__(self) -> None:
        """Refuse what cannot be a password before any work is done for it."""
        super().__post_init__()
        check_form("/password", self.password)


class SignedUp(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new user; with the tokens of its first session where it came with a password."""

    user: Account
    token: str | UnsetType = UNSET
    token_type: Literal["Bearer"] | UnsetType = UNSET
    expires_in: int | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    refresh_expires_in: int | UnsetType = UNSET
    otp: str | UnsetType = UNSET

    @classmethod
    def of(cls, user: Account, tokens: Tokens | None, otp: str | UnsetType) -> "SignedUp":
        """Return what a sign-up is told."""
        return cls(user=user, otp=otp, **(msgspec.structs.asdict(tokens) if tokens else {}))


class GivenCode(Identified, frozen=True, kw_only=True):
    """An identity and the code that was sent to it."""

    otp: Annotated[str, Meta(min_length=6, max_length=6, pattern="^[0-9]{6}$")]


class SignedIn(Tokens, frozen=True, kw_only=True):
    """A user and the tokens of a new session."""

    user: Account

    @classmethod
    def of(cls, user: Account, tokens: Tokens) -> "SignedIn":
        """Return what is told to whoever proved an identity."""
        return cls(user=user, **msgspec.structs.asdict(tokens))


class NewPassword(GivenCode, frozen=True, kw_only=True):
    """A new password, and the code that allows it."""

    new_password: ChosenPassword

    def __post_init__(self) -> None:
        """Refuse a weak password before the code is looked at."""
        super().__post_init__()
        check_strength("/newPassword", self.new_password, self.identity.value)


class PasswordChange(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A new password in the place of the current one, or of none."""

    current_password: Password | None = None
    new_password: ChosenPassword

    def __post_init__(self) -> None:
        """Refuse a weak password; whether it equals an identity only the user's item tells."""
        if self.current_password is not None:
            check_form("/currentPassword", self.current_password)
        check_strength("/newPassword", self.new_password)


class NewIdentity(GivenCode, frozen=True, kw_only=True):
    """An identity to add to an account, its code, and the account's password if it has one."""

    current_password: Password | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a password before any work is done for it."""
        super().__post_init__()
        if self.current_password is not None:
            check_form("/currentPassword", self.current_password)
