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
"""Days; a longer grant is refused as a typing error."""
MOST_PROMPTS = 1_000
"""The most prompts that one act gives back; more are refused as a typing error."""

MOST_HOURS = 336
"""The most hours since the failure of a redriven prompt: the lifetime of a dead letter."""

STAGE = "stage"
"""The user id in the audit item of an act that concerns no single user; no user has it."""

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
    """An act of an operator; its id makes it happen once, however often it is sent."""

    id: ActId
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse an identity in the reason: audit items are kept when their user is deleted.

        A line break or control character is refused too: in a printed list it could fake an act.
        """
        if not self.reason.isprintable() or not self.reason.strip():
            raise InvalidRequest("The reason is one line of printable text.")
        if _PERSONAL.search(self.reason):
            raise InvalidRequest(
                "The reason is kept for good: leave out email addresses and numbers of users."
            )

    @property
    def about(self) -> str:
        """The user whom the act concerns, or STAGE."""
        return STAGE

    @property
    def kind(self) -> str:
        """The name of the act."""
        return str(type(self).__struct_config__.tag)

    def details(self) -> dict[str, Any]:
        """Return the values of the act beyond those that every act has."""
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
        """The user whom the act concerns."""
        return self.user_id


class GrantPro(UserAct, frozen=True, kw_only=True, tag="grant"):
    """Give pro until a time, whatever Stripe reports."""

    until: Annotated[datetime, Meta(tz=True)]


class RevokePro(UserAct, frozen=True, kw_only=True, tag="revoke"):
    """End a grant."""


class GiveBack(UserAct, frozen=True, kw_only=True, tag="give-back"):
    """Subtract prompts from today's count."""

    prompts: Annotated[int, Meta(ge=1, le=MOST_PROMPTS)]


class EndSessions(UserAct, frozen=True, kw_only=True, tag="end-sessions"):
    """End every session."""


class Ban(UserAct, frozen=True, kw_only=True, tag="ban"):
    """Suspend the account."""


class Unban(UserAct, frozen=True, kw_only=True, tag="unban"):
    """Allow the account to be used again."""


class Delete(UserAct, frozen=True, kw_only=True, tag="delete"):
    """Delete the account after the grace period."""


class Export(UserAct, frozen=True, kw_only=True, tag="export"):
    """Collect the account's data for its user."""


type Change = GrantPro | RevokePro | GiveBack | EndSessions | Ban | Unban
"""The acts that change what a user may do."""


class Redrive(Act, frozen=True, kw_only=True, tag="redrive"):
    """Queue failed prompts again: those with this code, or all that no user caused to fail."""

    failure: str | None = None
    """The code of the failure."""
    hours: Annotated[float, Meta(ge=0, le=MOST_HOURS)] = 24
    """The time since the failure."""

    def __post_init__(self) -> None:
        """Refuse a failure whose prompts cannot be queued again."""
        super().__post_init__()
        if self.failure and self.failure not in REDRIVABLE:
            known = ", ".join(sorted(REDRIVABLE))
            raise InvalidRequest(f"Prompts that failed for one of these are redriven: {known}.")


class Question(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    tag_field="ask",
):
    """A question of an operator, which changes nothing."""


class WhoIs(Question, frozen=True, kw_only=True, tag="who"):
    """Find the user with this email, mobile number, user id or Stripe customer id."""

    named: Annotated[str, Meta(min_length=1, max_length=300)]


class Describe(Question, frozen=True, kw_only=True, tag="show"):
    """Describe the state of a user's account."""

    user_id: UserId


class ListActs(Question, frozen=True, kw_only=True, tag="audit"):
    """List the acts that concern a user, or those of a day."""

    user_id: UserId | None = None
    day: date | None = None
