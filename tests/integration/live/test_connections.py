"""The live table: open connections, used tickets, and requests to stop a prompt."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain.sessions import Claims
from geminichat.domain.tickets import TicketUsed
from geminichat.errors import Unauthorized
from geminichat.tables import live, users
from geminichat.tables.live import MOST_CONNECTIONS, Live, Watchers
from geminichat.tables.table import transact
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import Person

NOW = datetime.now(UTC)


def new_id() -> str:
    return secrets.token_urlsafe(10) + "="


def open_connection(person: Person, connection_id: str, at: datetime = NOW) -> tuple[str, ...]:
    return live.open_connection(person.id, connection_id, person.session_id, new_id(), at)


def list_connections(person: Person, at: datetime = NOW) -> set[str]:
    return set(live.read_watchers(person.id, at).connections)


@pytest.fixture
def ann(api: Api) -> Person:
    return Person.new(api)


def test_a_user_who_never_connected_has_no_watchers(ann: Person) -> None:
    assert live.read_watchers(ann.id, NOW) == Watchers()
    assert live.close_all(ann.id) == ()


def test_a_connection_counts_for_fifteen_minutes_from_its_opening_or_prolongation(
    ann: Person,
) -> None:
    first, second = new_id(), new_id()
    open_connection(ann, first)
    open_connection(ann, second)
    later = NOW + timedelta(minutes=14)
    assert live.prolong_connection(ann.id, second, ann.session_id, later)
    assert list_connections(ann, later) == {first, second}
    assert list_connections(ann, NOW + timedelta(minutes=15)) == {second}
    assert list_connections(ann, later + timedelta(minutes=15)) == set()


def test_a_removed_connection_cannot_be_prolonged(ann: Person) -> None:
    one = new_id()
    open_connection(ann, one)
    live.close_connection(ann.id, one)
    assert not live.prolong_connection(ann.id, one, ann.session_id, NOW)
    assert list_connections(ann) == set()


def test_a_ticket_that_is_used_twenty_times_at_once_opens_one_connection(ann: Person) -> None:
    open_connection(ann, new_id())
    nonce = new_id()

    def use() -> bool:
        try:
            live.open_connection(ann.id, new_id(), ann.session_id, nonce, NOW)
        except TicketUsed:
            return False
        return True

    assert at_once([use] * 20).count(True) == 1
    assert len(list_connections(ann)) == 2


def test_a_user_has_eight_connections_after_sixteen_are_opened_at_once(ann: Person) -> None:
    closed = at_once([lambda: open_connection(ann, new_id())] * 16)
    assert len(list_connections(ann)) == MOST_CONNECTIONS
    assert len({one for each in closed for one in each}) == 16 - MOST_CONNECTIONS


def test_opening_a_connection_removes_and_returns_expired_connections(ann: Person) -> None:
    old, new = new_id(), new_id()
    open_connection(ann, old)
    assert open_connection(ann, new, NOW + timedelta(minutes=16)) == (old,)


def test_the_nonce_of_a_used_ticket_is_deleted_after_the_ticket_has_expired(ann: Person) -> None:
    for minutes in range(3):
        open_connection(ann, new_id(), NOW + timedelta(minutes=2 * minutes))
    assert len(Live.get(ann.id).nonces.as_dict()) == 1


def test_a_connection_does_not_count_after_its_session_has_ended(ann: Person) -> None:
    phone, laptop = new_id(), new_id()
    open_connection(ann, phone)
    session_of_phone = ann.session_id
    ann.log_in()
    open_connection(ann, laptop)
    users.end_session(Claims(ann.id, session_of_phone), datetime.now(UTC))
    assert list_connections(ann) == {laptop}
    assert not live.prolong_connection(ann.id, phone, session_of_phone, NOW)
    with pytest.raises(Unauthorized):
        live.open_connection(ann.id, new_id(), session_of_phone, new_id(), NOW)
    assert live.close_ended(ann.id, NOW) == (phone,)
    assert live.close_ended(ann.id, NOW) == ()
    transact(users.end_all_sessions(ann.id, datetime.now(UTC)))
    assert list_connections(ann) == set()
    assert live.close_all(ann.id) == (laptop,)
    assert live.read_watchers(ann.id, NOW) == Watchers()


def test_a_connection_that_is_reported_gone_in_its_first_seconds_is_kept(ann: Person) -> None:
    one = new_id()
    open_connection(ann, one)
    live.close_connection(ann.id, one, gone_at=NOW + timedelta(seconds=1))
    assert list_connections(ann) == {one}
    live.close_connection(ann.id, one, gone_at=NOW + timedelta(seconds=11))
    assert list_connections(ann) == set()


def test_a_request_to_stop_a_prompt_is_found_until_it_is_cleared(ann: Person) -> None:
    live.request_stop(ann.id, "m_a_1", NOW)
    live.request_stop(ann.id, "m_b_1", NOW)
    assert live.read_watchers(ann.id, NOW) == Watchers((), frozenset({"m_a_1", "m_b_1"}))
    open_connection(ann, new_id())
    live.clear_stop(ann.id, "m_a_1")
    live.clear_stop(ann.id, "m_unknown_1")
    assert live.read_watchers(ann.id, NOW).stops == {"m_b_1"}
