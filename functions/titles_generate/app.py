"""SQS TitlesQueue: give a room a title once a prompt is answered, unless the user has named it.

The room gets the prompt's first words as its title, and then Gemini's title. Gemini is asked only
once: if it fails, the words stay.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

from datetime import datetime
from typing import Any

import msgspec

from geminichat import config, metrics
from geminichat.clients import connections, gemini_sdk, title_queue
from geminichat.clients.title_queue import TitleJob
from geminichat.domain import ids, titles
from geminichat.domain.live import RoomFrame
from geminichat.domain.messages import NO_TOKENS, TokenUsage
from geminichat.domain.models import Model
from geminichat.runtime import clock, deadlines, log
from geminichat.tables import chatrooms, live, subscriptions, usage, users
from geminichat.tables.messages import stored
from geminichat.tables.table import ConditionsFailed, batch_get, transact, transact_if
from geminichat.upstash import change_notices

POSTS_DEADLINE = 2.0
"""Seconds for all posts of the new title to the user's connections."""


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Return the queue messages to deliver again (a partial batch failure)."""
    failed = [record["messageId"] for record in event["Records"] if not _handle(record)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _handle(record: dict[str, Any]) -> bool:
    """Give a title to the room of a queue message, and return whether the message is done."""
    try:
        give_title(title_queue.read(record["body"]), clock.now())
    except Exception:
        log.exception("not titled", sqs_message_id=record["messageId"])
        return False
    return True


def give_title(job: TitleJob, now: datetime) -> None:
    """Give the job's room a title if it has the default title and its user is not banned.

    The highest possible price is added to the stage's spending before Gemini is asked, and
    corrected afterwards.
    """
    user, room, prompt, reply, subscription = batch_get(
        users.key_of(job.user_id),
        chatrooms.key_of(job.user_id, job.chatroom_id),
        stored.key_of(job.chatroom_id, job.seq),
        stored.key_of(job.chatroom_id, job.seq + 1),
        subscriptions.key_of(job.user_id),
    )
    if not (room and prompt and reply and chatrooms.is_title_due(room)):
        return
    if user and user.banned_at:
        return
    model = config.catalogue().cheapest(now.date())
    question = titles.question(prompt.content, reply.content)
    cap = config.plan_limits()[subscriptions.plan_of(subscription, now)].spending
    price = titles.reserve(model, question, job.chatroom_id, now, cap, config.stage_cap())
    title_id, words = ids.new("t"), titles.first_words(prompt.content)

    change_notices.announce(change_notices.notice("titled", room.chatroom_id, now), job.user_id)
    start = chatrooms.start_title(job.user_id, job.chatroom_id, title_id, words)
    try:
        transact(start, *usage.charge_title(job.user_id, price))
    except ConditionsFailed as failed:
        if not failed.of("room") and transact_if(start):  # a cap is reached
            _show_room(job)
        return

    title, tokens = _ask(model, question, job)
    writes = usage.correct_title(job.user_id, price, tokens)
    if title:
        writes.append(chatrooms.finish_title(job.user_id, job.chatroom_id, title_id, title))
    while writes:  # without the writes that failed: a user, room or default title is gone
        try:
            transact(*writes)
            break
        except ConditionsFailed as failed:
            writes = [write for write in writes if not failed.of(write.name)]
    _show_room(job)


def _show_room(job: TitleJob) -> None:
    """Post a frame about the room's new title to each of the user's connections."""
    frame = msgspec.json.encode(RoomFrame(chatroom_id=job.chatroom_id))
    with deadlines.within(POSTS_DEADLINE):
        for connection_id in live.read_watchers(job.user_id, clock.now()).connections:
            connections.post(connection_id, frame)


def _ask(model: Model, question: str, job: TitleJob) -> tuple[str | None, TokenUsage]:
    """Return Gemini's title, or None if there is none, and the tokens to bill."""
    try:
        key = config.secret("GEMINI_KEY_PARAMETER")
        answer = gemini_sdk.generate_title(key, model.id, question)
    except Exception as error:
        log.warning("no title", chatroom_id=job.chatroom_id, error=type(error).__name__)
        metrics.emit(TitlesFailed=1)
        return None, NO_TOKENS
    title = titles.clean(answer.text)
    metrics.emit(TitlesGenerated=1) if title else metrics.emit(TitlesFailed=1)
    return title, answer.tokens
