"""Acts and questions of operators: an act may change something, a question does not."""

import re
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from geminichat.domain import times
from geminichat.domain.messages import REDRIVABLE
from geminichat.errors import InvalidRequest

LONGEST_GRANT = 3_660
"""The most days of a grant; a larger number is refused as a probable typo."""
MOST_PROMPTS = 1_000
"""The most prompts that one act gives back; a larger number is refused as a probable typo."""

MOST_HOURS = 336
"""A redrive reaches back at most this many hours: a dead letter is not kept longer."""

STAGE = "stage"
"""Audit items of acts that concern no single user have this text in place of a user id."""

_PERSONAL = re.compile(r"\S@\S|\+\s*\d(?:[\s()./-]*\d){5}")

type ActId = Annotated[str, Meta(pattern=r"^a_[a-z2-7]{26}$")]
type UserId = Annotated[str, Meta(pattern=r"^u_[a-z2-7]{26}$")]


class Act(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    tag_field="act",
):
    """An operator's act; an act that is sent again with the same id is performed only once."""

    id: ActId
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse a reason that contains an identity: audit items outlive the user's account.

        Refuse line breaks and control characters too: they could fake an act in a printed list.
        """
        if not self.reason.isprintable() or not self.reason.strip():
            raise InvalidRequest("The reason must be one line of printable text.")
        if _PERSONAL.search(self.reason):
            raise InvalidRequest(
                "The reason is never deleted: leave out users' email addresses and mobile numbers."
            )

    @property
    def about(self) -> str:
        """The id of the user that the act concerns, or STAGE."""
        return STAGE

    @property
    def kind(self) -> str:
        """The name of the act."""
        return str(type(self).__struct_config__.tag)

    def details(self) -> dict[str, Any]:
        """Return the fields that only this kind of act has, with times as text."""
        return {
            name: times.text(value) if isinstance(value, datetime) else value
            for name, value in msgspec.structs.asdict(self).items()
            if name not in UserAct.__struct_fields__
        }


class UserAct(Act, frozen=True, kw_only=True):
    """An act that concerns one user."""

    user_id: UserId

    @property
    def about(self) -> str:
        """The id of the user that the act concerns."""
        return self.user_id


class GrantPro(UserAct, frozen=True, kw_only=True, tag="grant"):
    """Give the user the pro plan until a time, whatever Stripe reports."""

    until: Annotated[datetime, Meta(tz=True)]


class RevokePro(UserAct, frozen=True, kw_only=True, tag="revoke"):
    """End the user's grant of the pro plan."""


class GiveBack(UserAct, frozen=True, kw_only=True, tag="give-back"):
    """Subtract prompts from the number that the user has sent today."""

    prompts: Annotated[int, Meta(ge=1, le=MOST_PROMPTS)]


class EndSessions(UserAct, frozen=True, kw_only=True, tag="end-sessions"):
    """End all sessions of the user."""


class Ban(UserAct, frozen=True, kw_only=True, tag="ban"):
    """Suspend the user's account."""


class Unban(UserAct, frozen=True, kw_only=True, tag="unban"):
    """End the suspension of the user's account."""


class Delete(UserAct, frozen=True, kw_only=True, tag="delete"):
    """Delete the user's account after the grace period."""


class Export(UserAct, frozen=True, kw_only=True, tag="export"):
    """Collect all data of the user's account in an archive for the user."""


type Change = GrantPro | RevokePro | GiveBack | EndSessions | Ban | Unban
"""The acts that change a user's plan, usage, sessions or suspension."""


class Redrive(Act, frozen=True, kw_only=True, tag="redrive"):
    """Queue failed prompts again: those with the code `failure`, or any in REDRIVABLE."""

    failure: str | None = None
    """The failure code."""
    hours: Annotated[float, Meta(ge=0, le=MOST_HOURS)] = 24
    """Only prompts that failed within this many hours are redriven."""

    def __post_init__(self) -> None:
        """Refuse a failure code that is not in REDRIVABLE."""
        super().__post_init__()
        if self.failure and self.failure not in REDRIVABLE:
            known = ", ".join(sorted(REDRIVABLE))
            raise InvalidRequest(f"Only prompts with these failure codes are redriven: {known}.")


class Question(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    tag_field="ask",
):
    """An operator's question, which changes nothing."""


class WhoIs(Question, frozen=True, kw_only=True, tag="who"):
    """Find the user with this email, mobile number, user id or Stripe customer id."""

    named: Annotated[str, Meta(min_length=1, max_length=300)]


class Describe(Question, frozen=True, kw_only=True, tag="show"):
    """Describe the state of a user's account."""

    user_id: UserId


class ListActs(Question, frozen=True, kw_only=True, tag="audit"):
    """List the acts that concern a user, or the acts of a day."""

    user_id: UserId | None = None
    day: date | None = None
