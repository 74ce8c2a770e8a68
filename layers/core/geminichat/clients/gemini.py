"""Google Gemini, behind one door: a prompt and its past go in, a reply or a verdict comes out.

Built on google-generativeai, which is frozen upstream: its successor takes its place here, and
nowhere else. Only the worker imports this module.
"""

import os
import re
from collections.abc import Sequence
from threading import Lock
from typing import Any

import msgspec

from geminichat.clients.gemini_sdk import (
    GenerativeModel,
    ParseError,
    RequestException,
    RequestOptions,
    configure,
    google_errors,
    share_tls,
)
from geminichat.config import secret
from geminichat.domain.history import PastTurn
from geminichat.domain.messages import BLOCKED, REFUSED, REPLY_SIZE, Failure, TokenUsage
from geminichat.domain.text import truncate

_DECLINED = {
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
}


class Reply(msgspec.Struct, frozen=True):
    """What Gemini answered."""

    content: str
    tokens: TokenUsage


class TryAgain(Exception):
    """This attempt failed and a later one may not; `after` is the pause in seconds Gemini named."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        """Keep the reason, for the log, and the pause."""
        super().__init__(reason)
        self.after = after


class GiveUp(Exception):
    """No later attempt will fare better; `failure` says why in words for the user."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure."""
        super().__init__(failure.code)
        self.failure = failure


_configured: str | None = None
_configuring = Lock()


def _configure() -> None:
    """Have one client for the key of now; rooms whose prompts come at once wait for the same."""
    global _configured
    key = secret("GEMINI_KEY_PARAMETER")
    with _configuring:
        if key == _configured:
            return
        endpoint = os.environ.get("GEMINI_ENDPOINT")
        options = {"api_endpoint": endpoint} if endpoint else None
        configure(api_key=key, transport="rest", client_options=options)
        if not (endpoint or "").startswith("http://"):
            share_tls()
        _configured = key


def generate(
    model: str,
    system_instruction: str | None,
    past: Sequence[PastTurn],
    prompt: str,
    *,
    timeout: float,
) -> Reply:
    """Return Gemini's reply within `timeout` seconds. Raises TryAgain, GiveUp."""
    _configure()
    contents: list[dict[str, Any]] = []
    for turn in past:
        contents.append({"role": "user", "parts": [turn.prompt]})
        contents.append({"role": "model", "parts": [turn.reply]})
    contents.append({"role": "user", "parts": [prompt]})
    try:
        answer = GenerativeModel(
            model, system_instruction=system_instruction or None
        ).generate_content(contents, request_options=RequestOptions(timeout=timeout, retry=None))
    except google_errors.BadRequest as error:
        if _reason(error) == "API_KEY_INVALID":
            raise TryAgain("api key refused") from error
        raise GiveUp(REFUSED) from error
    except (google_errors.Unauthorized, google_errors.Forbidden) as error:
        raise TryAgain("api key refused") from error
    except google_errors.NotFound as error:
        raise GiveUp(REFUSED) from error
    except google_errors.GoogleAPICallError as error:
        raise TryAgain(type(error).__name__, _named_pause(error)) from error
    except (
        google_errors.GoogleAPIError,
        RequestException,
        ParseError,  # of a body that is not what it should be, such as a proxy's page
    ) as error:
        raise TryAgain(type(error).__name__) from error
    return _read(answer)


def _read(answer: Any) -> Reply:
    """Read the first candidate's text parts; `answer.text` stumbles over all that is unusual."""
    if answer.prompt_feedback.block_reason:
        raise GiveUp(BLOCKED)
    if not answer.candidates:
        raise TryAgain("no candidates")
    candidate = answer.candidates[0]
    reason = getattr(candidate.finish_reason, "name", str(candidate.finish_reason))
    if reason in _DECLINED:
        raise GiveUp(BLOCKED)
    text = "".join(part.text for part in candidate.content.parts if "text" in part).strip()
    if not text:
        raise TryAgain(f"empty reply ({reason})")
    counted = answer.usage_metadata
    return Reply(
        content=truncate(text, REPLY_SIZE),
        tokens=TokenUsage(
            input_tokens=counted.prompt_token_count,
            output_tokens=counted.candidates_token_count,
        ),
    )


def _named_pause(error: google_errors.GoogleAPICallError) -> float | None:
    """Return google.rpc.RetryInfo's delay in seconds, where the error carries a sound one."""
    for detail in error.details or ():
        delay = getattr(detail, "retry_delay", None)
        if delay is not None:
            return float(delay.seconds) + float(delay.nanos) / 1e9
        named = detail.get("retryDelay") if isinstance(detail, dict) else None
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?s", str(named)):
            return float(str(named)[:-1])
    return None


def _reason(error: google_errors.GoogleAPICallError) -> str | None:
    """Return google.rpc.ErrorInfo's reason, where the error carries one."""
    for detail in error.details or ():
        reason = detail.get("reason") if isinstance(detail, dict) else getattr(detail, "reason", "")
        if reason:
            return str(reason)
    return None
