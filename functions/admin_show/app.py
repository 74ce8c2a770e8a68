"""make admin: find a user, describe an account, and list the acts of operators, all read-only.

No content of messages, no title and no secret is read.
"""

from datetime import datetime

import msgspec

from geminichat.administration import answers
from geminichat.domain import identities as rules
from geminichat.domain import ids, times
from geminichat.domain.acts import Describe, ListActs, WhoIs
from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.users import Account
from geminichat.errors import InvalidRequest, NotFound
from geminichat.operations import show_usage
from geminichat.tables import audit, chatrooms, identities, live, subscriptions, usage
from geminichat.tables import users as users_table
from geminichat.tables.audit import Entry
from geminichat.tables.messages import pages
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import batch_get

RECENT_ROOMS = 10
"""The number of rooms, latest activity first, that are searched for failed prompts."""
RECENT_MESSAGES = 40
"""The number of newest messages that are searched in each of these rooms."""


class Found(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The user found by an id, an email, a mobile number or a Stripe customer."""

    user_id: str


class FailedPrompt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The id of a failed prompt, and the time and the code of the failure."""

    message_id: str
    failed_at: str
    error: str


class Described(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The state of an account."""

    account: Account
    subscription: SubscriptionStatus
    stripe_customer_id: str | None
    banned_at: str | None
    purge_at: str | None
    """The time of the account's deletion, if its user or an operator requested one."""
    sessions: dict[str, str]
    """The time at which each session began, by session id."""
    connections: int
    attempts: int
    """The number of today's prompts, retries included."""
    in_flight: int
    failures: list[FailedPrompt]
    """Failed prompts of the rooms with the latest activity; the latest failure is first."""


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """Acts of operators, the oldest first."""

    acts: list[Entry]


@answers(WhoIs | Describe | ListActs)
def handler(question: WhoIs | Describe | ListActs, now: datetime) -> msgspec.Struct:
    """Return the requested user, account or acts. Raises NotFound, InvalidRequest."""
    match question:
        case WhoIs(named=named):
            return Found(user_id=_get_user_id(named.strip(), now))
        case Describe(user_id=user_id):
            return _describe(user_id, now)
        case ListActs(user_id=str(user_id)):
            return Acts(acts=audit.list_of_user(user_id))
        case ListActs(day=day):
            return Acts(acts=list(audit.list_of_day(day or now.date())))


def _get_user_id(named: str, now: datetime) -> str:
    if named.startswith("u_"):
        user = users_table.find(named)
        user_id = user.user_id if user else None
    elif named.startswith("cus_"):
        known = subscriptions.find_by_customer(named)
        user_id = known.user_id if known else None
    else:
        try:
            identity = rules.parse_email(named) if "@" in named else rules.parse_mobile(named)
        except ValueError as error:
            raise InvalidRequest(f"{named}: {error}.") from error
        record = identities.find(identity, now)
        user_id = record.user_id if record else None
    if user_id is None:
        raise NotFound(f"No user was found for {named}.")
    return user_id


def _describe(user_id: str, now: datetime) -> Described:
    user, subscription, counted = batch_get(
        users_table.key_of(user_id), subscriptions.key_of(user_id), usage.key_of(user_id, now)
    )
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    allowance = show_usage.compute_allowance(user, subscription, counted, now)
    known = subscription or Subscription(user_id)
    failures = [
        FailedPrompt(message_id=ids.message_id(room_id, seq), failed_at=failed_at, error=code)
        for room_id in chatrooms.list_latest_ids(user_id, RECENT_ROOMS)
        for seq, failed_at, code in pages.list_failures(room_id, RECENT_MESSAGES)
    ]
    return Described(
        account=show_usage.view_account(user, allowance),
        subscription=subscriptions.view(known, allowance),
        stripe_customer_id=known.stripe_customer_id,
        banned_at=user.banned_at,
        purge_at=times.of_epoch(user.purge_at) if user.purge_at is not None else None,
        sessions={
            session_id: times.of_epoch(began)
            for session_id, began in users_table.sessions_of(user).items()
        },
        connections=len(live.read_watchers(user_id, now).connections),
        attempts=allowance.attempts,
        in_flight=allowance.in_flight,
        failures=sorted(failures, key=lambda failure: failure.failed_at, reverse=True),
    )
