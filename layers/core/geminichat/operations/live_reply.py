"""Show a reply to its readers while Gemini writes it, and stop it at the user's request.

Three kinds of threads share one attempt. The worker's thread reads the text from Gemini. The
keeper prolongs the lease; each second it stores new text as a piece and reads who is watching. Each
connection has a poster, which sends only the newest text, so that a slow reader delays no other.
"""

import time
from concurrent.futures import Executor
from datetime import datetime, timedelta
from threading import Condition, Event
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from geminichat import metrics
from geminichat.clients import connections
from geminichat.clients.connections import Posted
from geminichat.clients.gemini import Generation
from geminichat.domain import ids, live
from geminichat.domain.live import AgainFrame, EndedFrame, Frame, GrowingText
from geminichat.domain.messages import Reply, Status
from geminichat.runtime import clock, log
from geminichat.tables import chatrooms, pieces
from geminichat.tables import live as live_table
from geminichat.tables.live import Watchers
from geminichat.tables.messages import leases
from geminichat.tables.messages.leases import LeasedPrompt, LeaseLost

LEASE = timedelta(seconds=20)
"""The duration of a lease, and so the longest delay of a prompt after a crash."""
HEARTBEAT = 8.0
"""Seconds after which the lease is prolonged: soon enough that one call may fail."""

LOOK = 1.0
"""Seconds between two reads of who is watching."""

FAST, SLOW = 0.25, 0.5
"""Seconds between two frames to a connection: at first, and later."""
FAST_FOR = 2.0
"""Seconds for which the time between frames is FAST, from the first frame on."""
MOST_SLOWDOWN = 16
"""The time between two frames doubles after each refused post, up to this factor."""


def read_watchers(prompt: LeasedPrompt) -> Watchers:
    """Read the watchers of a prompt, and whether its reply must not be shown, by one call."""
    room_key = chatrooms.key_of(prompt.user_id, prompt.chatroom_id)
    watchers, [room] = live_table.read_watchers_with(prompt.user_id, clock.now(), room_key)
    if room and chatrooms.is_hidden(room, prompt.seq):
        return replace(watchers, hides_prompt=True)
    return watchers


class LiveReply:
    """The reply of one attempt while Gemini writes it."""

    def __init__(self, prompt: LeasedPrompt, watchers: Watchers, background: Executor) -> None:
        """Store the prompt and its watchers; `background` runs the keeper and the posters."""
        self._prompt = prompt
        self._message_id = ids.message_id(prompt.chatroom_id, prompt.seq)
        self._watchers = watchers
        self._background = background
        self._posting: set[str] = set()
        self._generation: Generation | None = None
        self._stop = self._message_id in watchers.stops
        self._lost = False

        self._changed = Condition()
        self._over = Event()
        self._status: Status | None = None
        self._text = GrowingText(self._message_id, prompt.attempt)
        self.first_text_at: datetime | None = None
        """The time at which Gemini's first text arrived."""

    # ── The worker's thread ──

    def __enter__(self) -> Self:
        """Start the keeper, and a poster for each of the user's open connections."""
        self._background.submit(self._keep)
        self._start_posters()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End the keeper and the posters, without waiting for them."""
        self.end(None)

    def receive(self, generation: Generation) -> Reply:
        """Show the text as Gemini writes it, and return the reply.

        Raises GeminiError, and LeaseLost if another worker has leased the prompt since.
        """
        self._generation = generation
        if self._stop:
            generation.stop()
        for text in generation:
            with self._changed:
                self._text.add(text)
                self._changed.notify_all()
            self.first_text_at = self.first_text_at or clock.now()
        if self._lost:
            raise LeaseLost()
        return generation.reply()

    @property
    def text(self) -> str:
        """The reply's text so far."""
        return self._generation.text if self._generation else ""

    def end(self, status: Status | None) -> None:
        """End the attempt, and send readers the prompt's final status, if it has one."""
        if self._over.is_set():
            return
        with self._changed:
            self._status = status
            self._over.set()
            self._changed.notify_all()
        if self._message_id in self._watchers.stops and status:
            self._background.submit(self._clear_stop)

    def _clear_stop(self) -> None:
        live_table.clear_stop(self._prompt.user_id, self._message_id)

    # ── The keeper ──

    def _keep(self) -> None:
        heartbeat = time.monotonic() + HEARTBEAT
        while not self._over.wait(LOOK):
            try:
                if time.monotonic() >= heartbeat:
                    heartbeat += HEARTBEAT
                    self._stop |= leases.prolong_lease(self._prompt, clock.now(), LEASE)
                self._store_piece()
                self._look()
            except LeaseLost:
                self._stop = self._lost = True
            except Exception as error:
                log.warning("not shown", message_id=self._message_id, error=type(error).__name__)
            if self._stop and self._generation:
                self._generation.stop()

    def _look(self) -> None:
        watchers = read_watchers(self._prompt)
        self._stop |= self._message_id in watchers.stops or watchers.hides_prompt
        self._watchers = watchers
        self._start_posters()

    def _store_piece(self) -> None:
        """Store the text that follows the last piece, if anyone is watching."""
        if not self._watchers.is_anyone_there:
            return
        with self._changed:
            piece = self._text.next_piece()
        if piece is None:
            return
        prompt = self._prompt
        pieces.put_piece(prompt.chatroom_id, prompt.seq, prompt.attempt, piece, clock.now())
        with self._changed:
            self._text.note_stored(piece)

    # ── The posters ──

    def _start_posters(self) -> None:
        for connection_id in self._watchers.connections:
            if connection_id not in self._posting:
                self._posting.add(connection_id)
                self._background.submit(self._post_all, connection_id)

    def _post_all(self, connection_id: str) -> None:
        """Post frames to a connection until the attempt or the connection has ended."""
        sent = refused = 0
        shown, first_at, slowdown = 0, 0.0, 1
        again = self._prompt.attempt > 1
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: again or self._text.size > shown or self._over.is_set()  # noqa: B023
                )
                frame = self._again_frame() if again else self._newest_frame()
                size = shown if again else self._text.size
            if frame is None or connection_id not in self._watchers.connections:
                break
            posted_at = time.monotonic()
            first_at = first_at or posted_at
            posted = connections.post(connection_id, live.encode(frame))
            if posted is Posted.SENT:
                sent, slowdown, again, shown = sent + 1, 1, False, size
            else:
                refused, slowdown = refused + 1, min(2 * slowdown, MOST_SLOWDOWN)
            if posted is Posted.GONE:
                self._close(connection_id)
            if isinstance(frame, EndedFrame):
                break
            pause = (FAST if posted_at - first_at < FAST_FOR else SLOW) * slowdown
            self._wait(posted_at, pause)
        metrics.emit(Frames=sent, FramesRefused=refused)
        self._posting.discard(connection_id)

    def _wait(self, since: float, pause: float) -> None:
        """Wait until `pause` seconds after a post; the attempt's end shortens the wait to FAST."""
        self._over.wait(since + pause - time.monotonic())
        if (rest := since + FAST - time.monotonic()) > 0:
            time.sleep(rest)

    def _again_frame(self) -> Frame:
        return AgainFrame(message_id=self._message_id, attempt=self._prompt.attempt)

    def _newest_frame(self) -> Frame | None:
        """Return the frame to post now, or None after an attempt without a final status."""
        if self._over.is_set():
            status = self._status
            return EndedFrame(message_id=self._message_id, status=status) if status else None
        return self._text.frame()

    def _close(self, connection_id: str) -> None:
        """Remove a connection that is gone, unless it was opened a moment ago."""
        try:
            live_table.close_connection(self._prompt.user_id, connection_id, gone_at=clock.now())
        except Exception as error:
            log.warning("connection not removed", error=type(error).__name__)
