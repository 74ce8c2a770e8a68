"""Expired items count as missing, because DynamoDB deletes them only after some days."""

from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain import codes
from geminichat.domain.identities import Identity
from geminichat.tables import identities, limits
from geminichat.tables.table import transact, transact_if
from tests.support.lambdas import Api
from tests.support.person import Person

pytestmark = pytest.mark.both_engines

NOW = datetime.now(UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def identity(api: Api) -> Identity:
    return Person(api).identity


def test_an_identity_can_sign_up_again_after_its_sign_up_has_expired(identity: Identity) -> None:
    transact(identities.register(identity, "u_1", None, NOW))
    assert not transact_if(identities.register(identity, "u_2", None, NOW + WEEK - timedelta(1)))
    assert identities.find(identity, NOW + WEEK) is None
    assert identities.find_all([identity], NOW + WEEK) == [None]
    assert transact_if(identities.register(identity, "u_2", None, NOW + WEEK))


def test_a_replaced_identity_cannot_be_restored_after_seven_days(identity: Identity) -> None:
    transact(identities.prove(identity, "u_1", None, NOW))
    record = identities.find(identity, NOW)
    assert record
    transact(identities.replace(record, NOW))
    assert identities.find(identity, NOW + WEEK - timedelta(minutes=1))
    assert identities.find(identity, NOW + WEEK) is None


def test_expired_counts_of_wrong_passwords_are_ignored(identity: Identity) -> None:
    limit = codes.wrong_in_a_row(identity)

    def count_at(at: datetime) -> int:
        item = limits.Counter.get(limit.key, consistent_read=True)
        return limits.add_counts([limit], [item], at)[0].count

    limits.count_failures([limit], NOW)
    [known] = limits.add_counts([limit], [limits.Counter.get(limit.key)], NOW)
    limits.count_failures([known], NOW)
    expired = NOW + timedelta(days=100)
    assert (count_at(NOW), count_at(expired)) == (2, 0)
    limits.count_failures([limit], expired)
    assert count_at(expired) == 1
