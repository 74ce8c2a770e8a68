"""Notices of changed login factors: recipients, texts and failures."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.lambdas import Api
from tests.support.person import OTHER_PASSWORD, Person, new_mobile
from tests.support.wire import ALWAYS, BATCH_GET, Wire

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
WEEK = timedelta(days=7)


def reset(ann: Person, at: datetime) -> int:
    ann.forget_password(at=at)
    return ann.reset(ann.code(), OTHER_PASSWORD, at=at).status


@pytest.fixture
def ann(api: Api) -> Person:
    """A user with a proven email address."""
    ann = Person(api)
    ann.prove(at=NOW - WEEK)
    return ann


def test_the_restoration_of_an_identity_notifies_all_other_identities(ann: Person) -> None:
    number, thief = Person(ann.api, new_mobile()), Person(ann.api)
    assert ann.add_identity(number, at=NOW - WEEK + timedelta(minutes=1)).status == 200
    assert ann.add_identity(thief, at=NOW + timedelta(minutes=1)).status == 200
    ann.prove(at=NOW + timedelta(days=1))
    for one in (number, thief):
        assert "was restored with a code" in one.messages()[-1]
        assert "If this was not you" in one.messages()[-1]


def test_the_notice_of_a_reset_names_the_identity_that_the_reset_removed(ann: Person) -> None:
    number = Person(ann.api, new_mobile())
    assert ann.add_identity(number, at=NOW).status == 200
    assert reset(ann, NOW + timedelta(minutes=1)) == 200
    for one in (ann, number):
        notice = one.messages()[-1]
        assert "The mobile number added in the last 7 days was removed: add it again." in notice
        assert len(notice) <= 160, "the notice is longer than one text message"
    assert reset(ann, NOW + timedelta(minutes=3)) == 200
    assert "removed" not in ann.messages()[-1]


@pytest.mark.parametrize("how", ["refused", "lost"])
def test_a_notice_is_retried_after_a_failure(ann: Person, wire: Wire, how: str) -> None:
    wire.cut("ses.SendEmail", how, nth=2)
    assert reset(ann, NOW) == 200
    assert "was reset with a code" in ann.messages()[-1]


@pytest.mark.parametrize("call", ["ses.SendEmail", BATCH_GET])
def test_a_notice_that_cannot_be_sent_is_counted_and_the_request_succeeds(
    ann: Person,
    wire: Wire,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    call: str,
) -> None:
    ann.forget_password(at=NOW)
    code = ann.code()
    nth = 1 if call.startswith("ses") else 2
    wire.cut(call, "failing", nth=nth, times=ALWAYS)
    assert ann.reset(code, OTHER_PASSWORD, at=NOW).status == 200
    assert '"NoticesFailed":[1]' in capsys.readouterr().out
    [logged] = [one for one in caplog.records if one.message == "notice not sent"]
    assert vars(logged)["user_id"] == ann.id


def test_a_notice_by_text_message_counts_towards_the_daily_limit_of_text_messages(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    day = datetime(2025, 2, 1, 9, tzinfo=UTC)
    monkeypatch.setenv("TEXTS_PER_DAY", "4")
    ann = Person(api, new_mobile())
    ann.prove(at=day)
    assert reset(ann, day + timedelta(minutes=1)) == 200
    assert '"TextsShare":[75]' in capsys.readouterr().out
    assert reset(ann, day + timedelta(minutes=2)) == 200
    assert len(ann.messages()) == 4, "a fifth text message was sent"
    assert '"NoticesFailed":[1]' in capsys.readouterr().out


def test_an_identity_gets_at_most_ten_notices_per_day(ann: Person) -> None:
    for n in range(11):
        assert reset(ann, NOW + timedelta(minutes=13 * n)) == 200
    notices = [one for one in ann.messages() if "was reset with a code" in one]
    assert len(notices) == 10
    assert reset(ann, NOW + timedelta(days=1)) == 200
    assert "was reset with a code" in ann.messages()[-1]
