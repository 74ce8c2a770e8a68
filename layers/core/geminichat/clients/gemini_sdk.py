"""Calls through google-generativeai: list Google's models, and generate titles.

Google no longer supports this package. It cannot set a model's thinking and has no deadline for a
whole answer, so prompts are sent by the module `gemini`.
"""

import functools
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from geminichat.domain import titles
from geminichat.domain.messages import TokenUsage

with warnings.catch_warnings():  # the package warns that its support has ended
    warnings.simplefilter("ignore", FutureWarning)
    import google.generativeai as genai
    from google.generativeai.types import RequestOptions

LIST_TIMEOUT = 20.0
"""Seconds for each page of the list of models."""

TITLE_TIMEOUT = 3.0
"""Seconds for a whole title."""


class GeneratedTitle(msgspec.Struct, frozen=True):
    """Gemini's title and the tokens to bill; `text` is empty unless the answer is complete."""

    text: str
    tokens: TokenUsage


def list_served(key: str) -> set[str]:
    """Return the ids of the models that answer prompts. Raises Google's errors."""
    _connect(key, os.environ.get("GEMINI_ENDPOINT"))
    listed = genai.list_models(
        page_size=1000, request_options=RequestOptions(timeout=LIST_TIMEOUT, retry=None)
    )
    return {
        model.name.removeprefix("models/")
        for model in listed
        if "generateContent" in model.supported_generation_methods
    }


def generate_title(key: str, model_id: str, question: str) -> GeneratedTitle:
    """Return the title that a model generates. Raises Google's errors, and TimeoutError."""
    _connect(key, os.environ.get("GEMINI_ENDPOINT"))
    model = genai.GenerativeModel(
        model_id,
        system_instruction=titles.INSTRUCTION,
        generation_config={"max_output_tokens": titles.MAX_OUTPUT_TOKENS},
    )
    options = RequestOptions(timeout=TITLE_TIMEOUT, retry=None)
    answer = _call_within(
        TITLE_TIMEOUT, lambda: model.generate_content(question, request_options=options)
    )
    usage = answer.usage_metadata
    tokens = TokenUsage(
        input_tokens=usage.prompt_token_count,
        output_tokens=max(0, usage.total_token_count - usage.prompt_token_count),
    )
    stop = genai.protos.Candidate.FinishReason.STOP
    complete = [one for one in answer.candidates if one.finish_reason == stop]
    text = "".join(part.text for one in complete[:1] for part in one.content.parts)
    return GeneratedTitle(text, tokens)


@functools.lru_cache(maxsize=1)
def _connect(key: str, endpoint: str | None) -> None:
    """Configure the package with a key; calls with the same key share connections."""
    options = {"api_endpoint": endpoint} if endpoint else None
    genai.configure(api_key=key, transport="rest", client_options=options)


def _call_within[T](seconds: float, call: Callable[[], T]) -> T:
    """Return the call's result. Raises TimeoutError after `seconds`, and the call's errors.

    The package's own deadline applies to each read only. A call that takes longer continues in its
    thread, and its result is dropped.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result(seconds)
