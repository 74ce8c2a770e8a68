"""Redelivery and the sweep after a failure, and a check of the rules that must hold afterwards."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from functions.prompts_sweep.app import sweep
from functions.user_purge.app import purge_due
from geminichat.domain.messages import FINAL, REFUNDED, Status
from geminichat.tables.messages.stored import SHARDS, StoredMessage
from geminichat.tables.usage import Usage
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.stored import count_prompts, end_leases, messages_in, prompts

HOURS = (1, 2, 4)
"""Hours from now at which to sweep; each step is longer than the sweep's longest pause."""


def run_sweep(after: timedelta = timedelta(0), seconds: float = 60) -> dict[str, int]:
    """Run the sweep as if it ran `after` from now, for at most `seconds`; return its counts."""
    return sweep(datetime.now(UTC) + after, time.monotonic() + seconds)


def run_purge(at: datetime) -> dict[str, int]:
    """Run the purges that are due at a moment; return the counts."""
    return purge_due(at, time.monotonic() + 60)


def recover(worker: Poller, rooms: Iterable[str]) -> None:
    """Redeliver messages, end leases and sweep until the sweep finds nothing to do."""
    rooms = list(rooms)
    for hours in HOURS:
        for room in rooms:
            end_leases(room)
        worker.redeliver()
        worker.drain()
        if not any(run_sweep(timedelta(hours=hours)).values()):
            return
        worker.drain()


def check(user: Person, rooms: Iterable[str], accepted: Iterable[str] = ()) -> None:
    """Assert rules 1 to 3 of "What must always hold" in ARCHITECTURE.md, after `recover`."""
    prompts_of: dict[str, StoredMessage] = {}
    expected: Counter[str] = Counter()
    days: set[str] = set()
    for room in rooms:
        messages = {int(message.seq): message for message in messages_in(room)}
        for seq, message in messages.items():
            if message.sender == "ai":
                ended = (Status.ANSWERED, Status.STOPPED)
                assert messages[seq - 1].status in ended, "a reply to an unfinished prompt"
            elif message.sender == "user":
                prompts_of[f"m_{room.removeprefix('r_')}_{seq}"] = message
        for prompt in prompts(room):
            assert prompt.status in FINAL, f"the prompt is still {prompt.status}"
            assert not prompt.unfinished_since, "a finished prompt is still in the index"
            assert not prompt.lease, "a finished prompt is still leased"
            if prompt.status == Status.ANSWERED:
                assert messages[int(prompt.seq) + 1].sender == "ai", (
                    "an answered prompt has no reply"
                )
                expected[str(prompt.counted_on)] += 1
            elif prompt.status == Status.STOPPED:
                if prompt.counted_on:
                    expected[str(prompt.counted_on)] += 1
                else:
                    assert int(prompt.seq) + 1 not in messages, "a refunded prompt has a reply"
            else:
                assert int(prompt.seq) + 1 not in messages, "a failed prompt has a reply"
                assert prompt.error_message, "a failed prompt has no reason"
                refunded = prompt.error_code in REFUNDED
                assert bool(prompt.counted_on) != refunded, (
                    "a failed prompt must be either refunded or counted"
                )
                if not refunded:
                    expected[str(prompt.counted_on)] += 1
            assert not prompt.reservation, "a finished prompt still has a reservation"
            if prompt.generation:  # tests retry only blocked prompts, and each of them once
                expected[prompt.created_at[:10]] += 1
            days.add(prompt.created_at[:10])
    assert set(accepted) <= set(prompts_of), "an accepted prompt was lost"
    for day in days | set(expected):
        assert count_prompts(user.id, day) == expected[day], (
            "the count differs from the stored prompts"
        )
        check_settled(user.id, day)


def check_settled(user_id: str, day: str) -> None:
    """Assert that a user has no reserved dollars and no prompt in flight on this day."""
    try:
        usage = Usage.get(user_id, day, consistent_read=True)
    except Usage.DoesNotExist:
        return
    assert (usage.reserved, usage.in_flight) == (0, 0), (
        "dollars are still reserved, or a prompt is in flight"
    )


def list_waiting(rooms: Iterable[str]) -> list[tuple[str, int]]:
    """Return the room and the position of each unfinished prompt in these rooms."""
    mine = set(rooms)
    return [
        (key.chatroom_id, int(key.seq))
        for shard in range(SHARDS)
        for key in StoredMessage.unfinished.query(shard)
        if key.chatroom_id in mine
    ]
