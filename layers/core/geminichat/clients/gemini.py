"""Google Gemini over REST: send a prompt with its history, and read the reply or the error.

GeminiError           an attempt without a reply
├── Unavailable       temporary: 429, 5xx, no connection; try again after a pause
├── Silent            no text before our deadline; try again once, with less thinking
├── TooSlow           no complete reply before our deadline; do not try again
├── Recited           the reply repeated published text; try again twice
├── Declined          the prompt's fault: it is blocked or too long
└── Refused           for the operator to fix: key, billing, location, used-up daily quota
    ├── KeyRefused    Google rejects the key; try again after a pause
    └── Retired       the model is no longer served
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec

from geminichat.config import secret
from geminichat.domain import messages, spending
from geminichat.domain.history import PastTurn
from geminichat.domain.messages import Failure, Finish, Reply, TokenUsage
from geminichat.domain.models import Thinking
from geminichat.domain.text import GeneratedText
from geminichat.runtime import http_client

GOOGLE = "https://generativelanguage.googleapis.com"
CONNECT = 5.0
"""Seconds to connect to Gemini."""

MAX_EVENT = 8 * 1024 * 1024
"""The maximum number of bytes of an event, or of an answer that is not streamed."""

OUTAGES = {429, 502, 503}
"""HTTP statuses that mean that Gemini is down or overloaded; no prompt can cause them."""

MOST_TOKENS = 10_000_000
"""The maximum number of tokens that an answer may report: no model reads or writes more.

A wrong figure must not use up the stage's daily cap.
"""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question to Gemini; `max_output_tokens` limits thinking and reply together."""

    model: str
    prompt: str
    past: Sequence[PastTurn] = ()
    system_instruction: str | None = None
    thinking: Thinking | None = None
    max_output_tokens: int | None = None


class GeminiError(Exception):
    """An attempt without a reply; the prompt fails with `failure` if no attempt is left.

    `max_attempts` is the largest number of attempts that the prompt may have, `after` is the pause
    in seconds that Gemini asked for, and `tokens` are the tokens billed for this attempt.
    """

    failure: Failure = messages.UNAVAILABLE
    max_attempts: ClassVar[float] = math.inf

    def __init__(
        self, reason: str, failure: Failure | None = None, after: float | None = None
    ) -> None:
        """Store the reason for the log; `failure` replaces the failure of the class."""
        super().__init__(reason)
        self.after = after
        self.tokens: TokenUsage | None = None
        if failure:
            self.failure = failure


class Unavailable(GeminiError):
    """Gemini is unreachable or overloaded, or its answer is empty: a later attempt may succeed."""

    is_outage = False
    """Whether other prompts must fail, too.

    An error 500 or 504 or an empty answer may be the fault of one prompt.
    """


class Silent(GeminiError):
    """Gemini sent nothing until a deadline passed, before the reply or in the middle of it."""

    failure = messages.TIMED_OUT
    max_attempts = 2


class TooSlow(GeminiError):
    """Gemini did not complete its reply before the deadline; another attempt would take as long."""

    failure = messages.REPLY_TOO_SLOW
    max_attempts = 1


class Recited(GeminiError):
    """Gemini stopped because its reply repeated published text; another attempt may succeed."""

    failure = messages.RECITED
    max_attempts = 3


class Declined(GeminiError):
    """Gemini does not answer this prompt, however often it is asked."""

    failure = messages.BLOCKED
    max_attempts = 1


class Refused(GeminiError):
    """Gemini does not answer this service: the operator has to act."""

    failure = messages.SERVICE_REFUSED
    max_attempts: ClassVar[float] = 1


class KeyRefused(Refused):
    """Google rejects the key; a later attempt may succeed once the key is replaced."""

    max_attempts: ClassVar[float] = math.inf


class Retired(Refused):
    """The model is not served, or not for this key."""

    failure = messages.MODEL_RETIRED


class Generation:
    """One answer while Gemini writes it: iterate over its pieces of text, then call `reply`."""

    def __init__(self, question: Question, *, silence: float, whole: float) -> None:
        """Store the question and the deadlines; iterating sends the question.

        `silence` is the longest wait for the next piece of the answer, and `whole` is the time for
        the whole answer, both in seconds.
        """
        self._question, self._silence, self._whole = question, silence, whole
        self._stream: http_client.Stream | None = None
        self._key = ""
        self._stopped = self._ended = False
        self._usage = _Usage()
        self._model = question.model
        self._finish = ""
        self._blocked = ""
        self._candidates = False
        self._text = GeneratedText(messages.REPLY_SIZE)

    def __iter__(self) -> Iterator[str]:
        """Yield the reply's text piece by piece, trimmed like the reply. Raises GeminiError."""
        try:
            yield from self._read()
            self._ended = not self._stopped
        except http_client.TimedOut as error:
            wrote = self.text and not isinstance(error, http_client.Silent)
            missed = TooSlow(str(error)) if wrote else Silent(str(error))
            raise self._with_usage(missed) from error
        except http_client.RequestFailed as error:
            unreachable = Unavailable(str(error))
            unreachable.is_outage = not self._candidates
            raise self._with_usage(unreachable) from error
        except GeminiError as error:
            raise self._with_usage(error) from None
        except (msgspec.DecodeError, ValueError) as error:
            reason = f"unreadable answer ({type(error).__name__})"
            raise self._with_usage(Unavailable(reason)) from error
        finally:
            if self._stream:
                self._stream.close()

    def stop(self) -> None:
        """Close the connection, which ends the iteration; safe to call from another thread."""
        self._stopped = True
        if self._stream:
            self._stream.close()

    @property
    def text(self) -> str:
        """The reply's text so far."""
        return str(self._text)

    @property
    def tokens(self) -> TokenUsage:
        """The tokens that Gemini reported; an upper estimate if Gemini was stopped before that."""
        if self._usage.total_token_count or not self._is_stopped:
            return self._usage.count_billed()
        question = self._question
        asked = [question.prompt, question.system_instruction or ""]
        asked += [text for turn in question.past for text in (turn.prompt, turn.reply)]
        return TokenUsage(
            input_tokens=sum(map(spending.estimate_tokens, asked)),
            output_tokens=spending.estimate_tokens(self.text),
        )

    @property
    def _is_stopped(self) -> bool:
        return self._stopped and not self._ended

    def reply(self) -> Reply:
        """Return the reply after the iteration, or its text so far if Gemini was stopped.

        Raises GeminiError if there is no reply.
        """
        content = self.text
        if self._is_stopped:
            finish = Finish.STOPPED
        elif self._finish == "MAX_TOKENS" or self._text.is_cut:
            finish = Finish.LENGTH
        else:
            finish = Finish.COMPLETE
        if error := self._error(content):
            raise self._with_usage(error)
        return Reply(content, self.tokens, self._model, finish)

    def _error(self, content: str) -> GeminiError | None:
        """Return the error if the answer is not a reply, else None."""
        if self._is_stopped:
            return None
        if self._blocked:
            return Declined(f"blocked ({self._blocked})")
        if not self._candidates:
            return Unavailable("no candidates")
        if self._finish == "RECITATION":
            return Recited("recitation")
        if self._finish in _DECLINED:
            return Declined(f"declined ({self._finish})")
        if not content and self._finish == "MAX_TOKENS":
            return Declined("no tokens left for the reply", messages.REPLY_TOO_LONG)
        if not content:
            return Unavailable(f"empty reply ({self._finish or 'no reason'})")
        return None

    def _read(self) -> Iterator[str]:
        endpoint = os.environ.get("GEMINI_ENDPOINT") or GOOGLE
        self._key = secret("GEMINI_KEY_PARAMETER")
        answer = self._stream = http_client.stream(
            f"{endpoint}/v1beta/models/{self._question.model}:streamGenerateContent?alt=sse",
            {"content-type": "application/json", "x-goog-api-key": self._key},
            msgspec.json.encode(_body(self._question)),
            connect=CONNECT,
            silence=self._silence,
            whole=self._whole,
        )
        if self._stopped:  # while the connection was made
            answer.close()
        answer.begin()
        if self._stopped:
            return
        if answer.status != 200:
            raise self._classify(answer.status, _read_error(_read_whole(answer)))
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            for event in _read_events(answer):
                yield from self._take(_CHUNK.decode(event))
            if not (self._finish or self._blocked or self._stopped):
                raise Unavailable("the stream ended before the reply did")
        else:  # a proxy has joined the stream's pieces
            for chunk in _parse_chunks(_read_whole(answer)):
                yield from self._take(chunk)

    def _take(self, chunk: "_Chunk") -> Iterator[str]:
        """Store the metadata of a piece of the answer, and yield its text."""
        if chunk.usage_metadata and chunk.usage_metadata.total_token_count:
            self._usage = chunk.usage_metadata
        if chunk.error:
            raise self._classify(chunk.error.code, chunk.error)
        if chunk.model_version:
            self._model = chunk.model_version.removeprefix("models/")[:64]
        if chunk.prompt_feedback:
            self._blocked = _name_reason(chunk.prompt_feedback.block_reason, _BLOCK_REASONS)
        for candidate in (chunk.candidates or [])[:1]:
            self._candidates = True
            self._finish = _name_reason(candidate.finish_reason, _FINISH_REASONS) or self._finish
            for part in (candidate.content and candidate.content.parts) or ():
                if part.text and not part.thought and (grown := self._text.add(part.text)):
                    yield grown

    def _classify(self, status: int, error: "_Error") -> GeminiError:
        if self._key:
            error.message = error.message.replace(self._key, "[key]")  # Google sometimes quotes it
        return _classify(status, error)

    def _with_usage(self, error: GeminiError) -> GeminiError:
        if self._usage.total_token_count:
            error.tokens = self.tokens
        return error


# ── Requests and answers ────────────────────────────────────────────────────────────────────────


def _body(question: Question) -> dict[str, Any]:
    contents = []
    for turn in question.past:
        contents.append({"role": "user", "parts": [{"text": turn.prompt}]})
        contents.append({"role": "model", "parts": [{"text": turn.reply}]})
    contents.append({"role": "user", "parts": [{"text": question.prompt}]})
    body: dict[str, Any] = {"contents": contents}
    if question.system_instruction:
        body["systemInstruction"] = {"parts": [{"text": question.system_instruction}]}
    config: dict[str, Any] = {}
    if question.max_output_tokens:
        config["maxOutputTokens"] = question.max_output_tokens
    if question.thinking:
        config["thinkingConfig"] = {"thinkingLevel": question.thinking}
    if config:
        body["generationConfig"] = config
    return body


class _Part(msgspec.Struct):
    text: str | None = None
    thought: bool = False


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | int | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | int | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    total_token_count: int = 0

    def count_billed(self) -> TokenUsage:
        """Return the billed tokens: the prompt's as input, all others (also thinking) as output."""
        prompt, total = (
            min(max(0, count), MOST_TOKENS)
            for count in (self.prompt_token_count, self.total_token_count)
        )
        return TokenUsage(input_tokens=prompt, output_tokens=max(0, total - prompt))


class _Detail(msgspec.Struct, rename="camel"):
    reason: str = ""
    retry_delay: str = ""
    violations: list[dict[str, Any]] = []


class _Error(msgspec.Struct):
    code: int = 500
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    error: _Error | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)

_FINISH_REASONS = (
    "",  # unspecified
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
)
_BLOCK_REASONS = ("", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT")
"""The reasons that Gemini gives; some proxies send a reason's index instead of its name."""

_DECLINED = {"SAFETY", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"}


def _name_reason(reason: str | int | None, names: Sequence[str]) -> str:
    """Return the name of a reason from its name or number; "" if the reason is unspecified."""
    if isinstance(reason, int):
        return names[reason] if 0 <= reason < len(names) else str(reason)
    return "" if reason is None or reason.endswith("_UNSPECIFIED") else reason


def _read_events(answer: http_client.Stream) -> Iterator[bytes]:
    """Yield the data of each server-sent event (WHATWG HTML, 9.2.6), one line per event."""
    pending = bytearray()
    for piece in answer:
        pending += piece
        *lines, rest = pending.split(b"\n")
        pending = bytearray(rest)
        if len(pending) > MAX_EVENT:
            raise Unavailable("an event is too large")
        for line in lines:
            if line.startswith(b"data:"):
                yield bytes(line[5:])
    if pending.startswith(b"data:"):
        yield bytes(pending[5:])


def _read_whole(answer: http_client.Stream) -> bytes:
    body = bytearray()
    for piece in answer:
        body += piece
        if len(body) > MAX_EVENT:
            raise Unavailable("the answer is too large")
    return bytes(body)


def _parse_chunks(body: bytes) -> list[_Chunk]:
    """Return the chunks of an answer that is one JSON object or an array of objects."""
    found = msgspec.json.decode(body)
    return msgspec.convert(found if isinstance(found, list) else [found], list[_Chunk])


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────


def _read_error(body: bytes) -> _Error:
    """Return the error in an answer's body: an object, an array of objects or plain text."""
    try:
        for chunk in _parse_chunks(body):
            if chunk.error:
                return chunk.error
    except (msgspec.DecodeError, ValueError):
        pass
    return _Error(message=body[:200].decode(errors="replace"))


def _classify(status: int, error: _Error) -> GeminiError:
    """Return our error for the status and the error of an answer from Google."""
    reason = f"{status} {error.status} {error.message[:300]}".strip()
    match status:
        case 404:
            return Retired(reason)
        case 401 | 403:
            return KeyRefused(reason)
        case 400 if any(detail.reason.startswith("API_KEY") for detail in error.details):
            return KeyRefused(reason)
        case 402:
            return Refused(reason)
        case 400 if error.status == "FAILED_PRECONDITION":  # the location, or billing
            return Refused(reason)
        case 429 if _is_daily_quota_used_up(error):
            return Refused(reason)
        case 413:
            return Declined(reason, messages.PROMPT_TOO_LONG)
        case 400 if "exceeds the" in error.message:  # "… the maximum number of tokens", "… limit"
            return Declined(reason, messages.PROMPT_TOO_LONG)
        case 400:
            return Declined(reason, messages.NOT_ACCEPTED)
        case _:
            unavailable = Unavailable(reason, after=_find_pause(error))
            unavailable.is_outage = status in OUTAGES
            return unavailable


def _is_daily_quota_used_up(error: _Error) -> bool:
    """Return whether a daily quota is used up: then the pause that Google names is too short."""
    return any(
        "PerDay" in str(violation.get("quotaId"))
        for detail in error.details
        for violation in detail.violations
    )


def _find_pause(error: _Error) -> float | None:
    """Return the delay of google.rpc.RetryInfo in seconds, or None without a valid one."""
    for detail in error.details:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?s", detail.retry_delay):
            return float(detail.retry_delay[:-1])
    return None
