"""Exports of an account: the contents of the archive, access to it, limits and crashes."""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from geminichat.clients.export_queue import ExportJob
from geminichat.operations import export_account, write_export
from geminichat.tables import exports
from geminichat.tables.table import transact
from tests.support import archives, fresh_process
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.parallel import repeat_at_once
from tests.support.person import PROOF, Person, check_problem, new_mobile
from tests.support.stored import fill_room
from tests.support.template import Values
from tests.support.wire import ALWAYS, QUERY, SEND, WIRE, Died, list_calls

NOW = datetime.now(UTC)
EARLIER = NOW - timedelta(minutes=5)
DAY = timedelta(days=1)


@pytest.fixture
def writer(values: Values) -> Poller:
    """A poller of the exports queue; each poll writes one archive."""
    return Poller([values.refs["ExportsQueue"]], "ExportsWrite", batch_size=1)


@pytest.fixture
def ann(api: Api) -> Person:
    return Person.with_password(api, at=EARLIER)


def request_export(user: Person, proof: dict[str, str] | None = None, at: datetime = NOW) -> Reply:
    return user.post("/user/export", PROOF if proof is None else proof, at=at)


def make_export(user: Person, writer: Poller) -> dict[str, Any]:
    """Request an export for the user, wait until it is ready, and return it."""
    assert request_export(user).status == 202
    writer.drain()
    return get_export(user)


def get_export(user: Person, at: datetime = NOW) -> dict[str, Any]:
    """Return the user's export from GET /user/export."""
    reply = user.get("/user/export", at=at)
    assert reply.status == 200, reply.text
    export: dict[str, Any] = reply.data
    return export


# ── Contents ─────────────────────────────────────────────────────────────────────────────────────


def test_an_archive_has_the_same_data_as_the_api(
    ann: Person, worker: Poller, writer: Poller
) -> None:
    number = Person(ann.api, new_mobile())
    assert ann.add_identity(number, PROOF, NOW).status == 200
    ann.subscribe()
    rooms = [ann.open_room("Plans", systemInstruction="Be brief."), ann.open_room("Empty")]
    first = ann.ask(rooms[0], "Zürich 🏔\n\n" * 40)
    worker.drain()
    edited = ann.edit(rooms[0], first, "What about Genève?").data["messageId"]
    worker.drain()

    found = archives.read(make_export(ann, writer)["url"])

    assert found["account"] == [ann.get("/user/me", at=NOW).data]
    assert found["subscription"] == [ann.status(NOW)]
    assert {(one["value"], one["verified"]) for one in found["identities"]} == {
        (ann.identity.value, True),
        (number.identity.value, True),
    }
    assert ann.session_id in [one["id"] for one in found["sessions"]]
    assert [(one["day"], one["prompts"]) for one in found["usage"]] == [(NOW.date().isoformat(), 2)]
    assert sorted(found["rooms"], key=lambda room: str(room["id"])) == [
        remove_fields(ann.get(f"/chatroom/{room}").data, "messages", "nextCursor")
        for room in sorted(rooms)
    ]
    assert len(found["messages"]) == 4
    for message in found["messages"]:
        assert message.pop("chatroomId") == rooms[0]
        assert message == remove_fields(ann.fetch_message(rooms[0], message["id"]), "reply")
    visible = [message for message in found["messages"] if "hidden" not in message]
    assert visible == ann.page(rooms[0])
    assert visible[0]["id"] == edited
    assert [message["hidden"] for message in found["messages"][:2]] == [True, True]


def remove_fields(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


@pytest.mark.parametrize("change", ["a room is deleted", "a prompt is sent", "a room is opened"])
def test_an_archive_has_every_room_even_if_rooms_change_during_the_export(
    ann: Person, writer: Poller, values: Values, change: str
) -> None:
    kept, changed = ann.open_room("Kept"), ann.open_room("Changed")
    prompts = [ann.ask(room) for room in (kept, changed)]
    acts: dict[str, Callable[[], object]] = {
        "a room is deleted": lambda: ann.delete(changed),
        "a prompt is sent": lambda: ann.ask(changed, "One more"),
        "a room is opened": lambda: ann.open_room("New"),
    }
    messages = (values.refs["MessagesTable"],)
    WIRE.cut(QUERY, "meanwhile", do=acts[change], holding=messages)
    found = archives.read(make_export(ann, writer)["url"])
    assert {kept, changed} == {room["id"] for room in found["rooms"]}
    assert prompts[0] in [message["id"] for message in found["messages"]]


# ── Access ───────────────────────────────────────────────────────────────────────────────────────


def test_the_url_of_an_archive_is_valid_for_15_minutes(ann: Person, writer: Poller) -> None:
    export = make_export(ann, writer)
    assert export["urlExpiresAt"][:16] == (NOW + timedelta(minutes=15)).isoformat()[:16]
    assert archives.fetch(export["url"]).headers["content-type"] == "application/zip"
    real = datetime.now(UTC)
    younger = get_export(ann, real - timedelta(minutes=14))["url"]
    assert archives.fetch(younger).status_code == 200
    older = get_export(ann, real - timedelta(minutes=16))["url"]
    refused = archives.fetch(older)
    assert (refused.status_code, "expired" in refused.text) == (403, True)
    longer = archives.fetch(older.replace("X-Amz-Expires=900", "X-Amz-Expires=9000"))
    assert (longer.status_code, "SignatureDoesNotMatch" in longer.text) == (403, True)


def test_an_export_of_another_user_is_not_found(ann: Person, writer: Poller, api: Api) -> None:
    make_export(ann, writer)
    check_problem(Person.new(api).get("/user/export"), 404, "not-found")


def test_an_export_is_shown_for_a_day(ann: Person, writer: Poller) -> None:
    make_export(ann, writer)
    assert get_export(ann, NOW + timedelta(hours=23))["status"] == "ready"
    check_problem(ann.get("/user/export", at=NOW + DAY), 404, "not-found")


def test_an_export_takes_the_number_of_calls_that_architecture_md_states(
    ann: Person, writer: Poller
) -> None:
    ann.ask(ann.open_room())

    def count_calls(act: Callable[[], object]) -> Counter[str]:
        with WIRE.watch() as tries:
            act()
        return Counter(seen.call.partition(".")[0] for seen in tries)

    notice = Counter(dynamodb=2, ses=1)
    assert count_calls(lambda: request_export(ann)) == Counter(dynamodb=3, sqs=1) + notice
    rooms = 1
    assert count_calls(writer.drain) == Counter(dynamodb=5 + rooms, s3=3)
    assert count_calls(lambda: get_export(ann)) == Counter(dynamodb=1)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad-request"),
        ({"currentPassword": "not the password"}, 401, "invalid-credentials"),
        ({"currentOtp": "000000"}, 400, "invalid-code"),
    ],
)
def test_an_export_requires_a_fresh_proof(
    ann: Person, body: dict[str, str], status: int, code: str
) -> None:
    check_problem(request_export(ann, body), status, code)
    check_problem(ann.get("/user/export", at=NOW), 404, "not-found")


def test_every_proven_identity_is_notified_of_an_export(ann: Person) -> None:
    assert request_export(ann, ann.confirm(NOW)).status == 202
    notice = ann.messages()[-1]
    assert "A copy of all data of your Gemini Chat account was requested" in notice
    assert len(notice) <= 160, "the notice is longer than one text message"


def test_an_unproven_account_can_be_exported_with_its_password(api: Api, writer: Poller) -> None:
    stranger = Person(api)
    stranger.sign_up(at=NOW)
    before = len(stranger.messages())
    [identity] = archives.read(make_export(stranger, writer)["url"])["identities"]
    assert (identity["value"], identity["verified"]) == (stranger.identity.value, False)
    assert len(stranger.messages()) == before, "an unproven identity was notified"


# ── Limits ────────────────────────────────────────────────────────────────────────────────────────


def test_one_export_per_day_is_accepted(ann: Person, writer: Poller) -> None:
    accepted = request_export(ann)
    assert accepted.data["status"] == "preparing"
    assert '"export";r=0;t=86400' in accepted.headers["ratelimit"]
    again = check_problem(
        request_export(ann, at=NOW + timedelta(minutes=50)), 429, "too-many-requests"
    )
    assert int(again.headers["retry-after"]) in (83_399, 83_400)
    writer.drain()
    check_problem(request_export(ann, at=NOW + timedelta(hours=23)), 429, "too-many-requests")
    assert request_export(ann, at=NOW + DAY).status == 202


def test_one_of_two_parallel_requests_for_an_export_is_accepted(
    ann: Person, writer: Poller
) -> None:
    replies = repeat_at_once(lambda _: request_export(ann), 2)
    assert sorted(reply.status for reply in replies) == [202, 429]
    assert len(writer.poll().bodies) == 1
    assert writer.poll().bodies == []


def test_an_export_that_could_not_be_queued_can_be_requested_again(
    ann: Person, writer: Poller
) -> None:
    WIRE.cut(SEND, "refused", times=ALWAYS)
    check_problem(request_export(ann), 503, "unavailable")
    WIRE.breaks.clear()
    assert make_export(ann, writer)["status"] == "ready"


def test_an_export_fails_after_an_hour_if_its_queue_message_was_lost(ann: Person) -> None:
    WIRE.cut(SEND, "dies before")
    with suppress(Died):
        request_export(ann)
    later = NOW + timedelta(hours=1)
    assert get_export(ann)["status"] == "preparing"
    assert get_export(ann, later)["status"] == "failed"
    assert request_export(ann, at=later).status == 202


# ── Crashes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["dies before", "dies after"])
def test_an_export_becomes_ready_after_a_crash_at_any_call(
    ann: Person, writer: Poller, how: str
) -> None:
    ann.ask(ann.open_room())

    def begin() -> None:
        transact(exports.withdraw(ann.id))
        export_account.request(ann.id, NOW)

    begin()
    with WIRE.watch() as tries:
        writer.drain()
    calls = list_calls(tries)
    assert len(calls) > 8
    for place, call in enumerate(calls):
        begin()
        WIRE.cut(call, how, nth=calls[: place + 1].count(call))
        with suppress(Died):
            writer.poll()
        writer.redeliver()
        writer.drain()
        export = get_export(ann)
        assert export["status"] == "ready", call
        assert len(archives.read(export["url"])["messages"]) == 1, call


def test_an_export_fails_after_three_attempts(ann: Person, writer: Poller, values: Values) -> None:
    assert request_export(ann).status == 202
    WIRE.cut("s3.UploadPart", "failing", times=ALWAYS)
    for attempt in (1, 2, 3):
        assert get_export(ann)["status"] == "preparing", attempt
        assert len(writer.poll().failed) == 1
        writer.redeliver()
    assert get_export(ann)["status"] == "failed"
    assert writer.poll().bodies == []
    url = values.refs["ExportDeadLettersQueue"]
    assert len(boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]) == 1
    assert f"{ann.id}/" not in "".join(archives.list_unfinished()), (
        "a failed upload was not aborted"
    )
    WIRE.breaks.clear()
    assert make_export(ann, writer)["status"] == "ready"


def test_an_export_that_takes_longer_than_one_invocation_fails_as_too_large(
    ann: Person, writer: Poller
) -> None:
    assert request_export(ann).status == 202
    assert writer.poll(seconds=30).failed == []
    assert get_export(ann)["status"] == "too-large"
    check_problem(request_export(ann), 429, "too-many-requests")
    assert archives.keys_of(ann.id) == []


def test_two_parallel_deliveries_of_an_export_job_leave_one_archive(
    ann: Person, writer: Poller
) -> None:
    def write_again() -> None:
        export = exports.find(ann.id)
        assert export
        job = ExportJob(user_id=ann.id, export_id=export.export_id)
        write_export.write(job, NOW, time.monotonic() + 60)

    WIRE.cut("s3.CompleteMultipartUpload", "meanwhile", do=write_again)
    export = make_export(ann, writer)
    assert archives.read(export["url"])["account"]
    assert len(archives.keys_of(ann.id)) == 1


# ── Deletion ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("call", [QUERY, "s3.CompleteMultipartUpload"])
def test_a_request_to_delete_the_account_deletes_its_export(
    ann: Person, writer: Poller, call: str
) -> None:
    def leave() -> None:
        reply = ann.request("DELETE", "/user", json=PROOF, at=NOW)
        assert reply.status == 202, reply.text

    assert request_export(ann).status == 202
    WIRE.cut(call, "meanwhile", do=leave)
    writer.drain()
    assert archives.keys_of(ann.id) == []
    check_problem(ann.get("/user/export", at=NOW), 401, "unauthorized")
    assert ann.log_in(at=NOW).status == 200
    check_problem(ann.get("/user/export", at=NOW), 404, "not-found")


def test_a_queued_export_is_not_written_after_a_request_to_delete_the_account(
    ann: Person, writer: Poller
) -> None:
    assert request_export(ann).status == 202
    assert ann.request("DELETE", "/user", json=PROOF, at=NOW).status == 202
    writer.drain()
    assert archives.keys_of(ann.id) == []


# ── Size ──────────────────────────────────────────────────────────────────────────────────────────

WRITE = """
import geminichat.startup, re, time
from pathlib import Path
from geminichat.clients.export_queue import ExportJob
from geminichat.operations import write_export
from geminichat.runtime import clock

job = ExportJob(user_id={user_id!r}, export_id={export_id!r})
write_export.write(job, clock.now(), time.monotonic() + 600)
[peak] = re.findall(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())
print(int(peak) // 1024, time.process_time())
"""
"""A script that writes an archive and prints its peak of memory in MB and seconds of CPU."""


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_an_account_of_100_mb_is_exported_with_less_than_512_mb_of_memory(ann: Person) -> None:
    rooms, many, length = 10, 640, 16_000
    for room in [ann.open_room(f"Room {number}") for number in range(rooms)]:
        fill_room(ann.id, room, many, lambda: secrets.token_hex(length // 2))
    assert request_export(ann).status == 202
    export = exports.find(ann.id)
    assert export
    code = WRITE.format(user_id=ann.id, export_id=export.export_id)
    megabytes, seconds = map(float, fresh_process.run(code).splitlines()[-1].split())
    print(f"{megabytes:.0f} MB, {seconds:.1f} s of CPU, archive {get_export(ann)['size']:,} bytes")
    assert megabytes < 512
    assert len(archives.read(get_export(ann)["url"])["messages"]) == rooms * many
