"""make admin: grant pro, give prompts back, end the sessions of a user, or ban a user.

An act and its audit item are stored in one transaction. After that, caches are invalidated and
connections are closed. A repeated act only repeats these two steps.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from geminichat.administration import DONE_BEFORE, Outcome, performs
from geminichat.domain import times
from geminichat.domain.acts import (
    LONGEST_GRANT,
    Ban,
    Change,
    EndSessions,
    GiveBack,
    GrantPro,
    RevokePro,
    Unban,
)
from geminichat.errors import Conflict, Contended, InvalidRequest, NotFound
from geminichat.operations import live_connections
from geminichat.tables import audit, subscriptions, usage, users
from geminichat.tables.table import ConditionsFailed, Write, batch_get, transact
from geminichat.tables.users import User
from geminichat.upstash import prompt_limits


@performs(Change)
def handler(act: Change, operator: str, now: datetime) -> Outcome:
    """Perform an act that is not recorded yet.

    Raises NotFound, InvalidRequest, Conflict, Contended.
    """
    user, recorded = batch_get(users.key_of(act.user_id), audit.key_of(act))
    if recorded:
        _clean_up(act, now)
        return DONE_BEFORE
    if user is None:
        raise NotFound(f"There is no user {act.user_id}.")
    prepared = _prepare(act, user, now)
    if not act.dry_run:
        try:
            transact(*prepared.writes, audit.put_act(prepared.act, operator, now))
        except ConditionsFailed as error:
            raise Contended() from error
        _clean_up(act, now)
    return Outcome(message=prepared.message, details=prepared.act.details())


class PreparedAct(NamedTuple):
    """An act to record, the message to its operator, and the writes that perform it."""

    act: Change
    message: str
    writes: list[Write]


def _prepare(act: Change, user: User, now: datetime) -> PreparedAct:
    """Return the act with its message and its writes. Raises InvalidRequest, Conflict."""
    user_id = user.user_id
    match act:
        case GrantPro(until=until):
            if not now < until <= now + timedelta(days=LONGEST_GRANT):
                raise InvalidRequest("The grant must end in the future, within ten years.")
            grant = subscriptions.grant(user_id, until)
            message = f"{user_id} has pro until {times.text(until)}."
            return PreparedAct(act, message, [users.require_user(user_id), grant])
        case RevokePro():
            granted_until = subscriptions.load(user_id).granted_until
            if granted_until is None:
                raise Conflict(f"{user_id} has no grant.")
            message = f"The grant of {user_id} until {granted_until} ends now."
            writes = [users.require_user(user_id), subscriptions.revoke(user_id)]
            return PreparedAct(act, message, writes)
        case GiveBack():
            return _prepare_give_back(act, user, now)
        case EndSessions():
            ended = len(users.sessions_of(user))
            message = f"{ended} sessions of {user_id} end."
            return PreparedAct(act, message, [users.end_all_sessions(user_id, now)])
        case Ban():
            if user.banned_at:
                raise Conflict(f"{user_id} has been banned since {user.banned_at}.")
            message = f"{user_id} is banned: no login, no prompt."
            return PreparedAct(act, message, [users.ban(user_id, now)])
        case Unban():
            if not user.banned_at:
                raise Conflict(f"{user_id} is not banned.")
            message = f"{user_id} may log in again."
            return PreparedAct(act, message, [users.unban(user_id)])


def _prepare_give_back(act: GiveBack, user: User, now: datetime) -> PreparedAct:
    """Return the act with the number of prompts that it can give back. Raises Conflict."""
    if not users.has_proven_identity(user):
        raise Conflict(
            f"{user.user_id} has no verified email or mobile number, and no daily quota."
        )
    counted, in_flight = usage.read_counted(user.user_id, now)
    prompts = min(act.prompts, counted - in_flight)
    if prompts <= 0:
        raise Conflict(f"{user.user_id} has sent no prompts today that can be given back.")
    message = f"{user.user_id} gets {prompts} of today's {counted} prompts back."
    writes = [
        users.require_user(user.user_id),
        usage.give_back(user.user_id, prompts, in_flight, now),
    ]
    return PreparedAct(msgspec.structs.replace(act, prompts=prompts), message, writes)


def _clean_up(act: Change, now: datetime) -> None:
    """Delete cached limits that changed, and close the connections of ended sessions."""
    match act:
        case GrantPro() | RevokePro() | GiveBack():
            prompt_limits.forget(act.user_id, now)
        case EndSessions() | Ban():
            live_connections.close_ended(act.user_id, now)
