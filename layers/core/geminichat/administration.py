"""The administration edge: turn an invocation by `make admin` into a Question or an Act.

These functions have no route; IAM decides who may invoke them. An act is performed only for an
operator whom STS has identified.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from geminichat.clients import operators
from geminichat.domain.acts import Act, Question
from geminichat.errors import AppError, InvalidRequest
from geminichat.runtime import clock, log


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A request in JSON and, for an act, the signed headers that identify the operator."""

    request: str
    proof: Mapping[str, str] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The outcome of an act or of its dry run: a sentence, and its values as data."""

    message: str
    details: Mapping[str, Any] = {}
    done_before: bool = False
    """Whether an earlier invocation performed the act."""


DONE_BEFORE = Outcome(message="This act was performed before.", done_before=True)

type Handler = Callable[[dict[str, Any], Any], Any]


def answers[Q: Question](kind: Any) -> Callable[[Callable[[Q, datetime], Any]], Handler]:
    """Turn a function that answers questions of the type `kind` into a Lambda handler."""

    def turn(answer: Callable[[Q, datetime], Any]) -> Handler:
        def handle(invocation: Invocation, _account: str) -> Any:
            question: Q = _decode(invocation.request, kind)
            return answer(question, clock.now())

        return _handler(answer, handle)

    return turn


def performs[A: Act](kind: Any) -> Callable[[Callable[[A, str, datetime], Outcome]], Handler]:
    """Turn a function that performs acts of the type `kind` into a Lambda handler."""

    def turn(perform: Callable[[A, str, datetime], Outcome]) -> Handler:
        def handle(invocation: Invocation, account: str) -> Outcome:
            act: A = _decode(invocation.request, kind)
            operator = operators.identify(invocation.request, invocation.proof, account)
            outcome = perform(act, operator, clock.now())
            log.info(
                "act performed",
                act=act.kind,
                act_id=act.id,
                user_id=act.about,
                operator=operator,
                dry_run=act.dry_run,
                done_before=outcome.done_before,
            )
            return outcome

        return _handler(perform, handle)

    return turn


def _handler(function: Callable[..., Any], handle: Callable[[Invocation, str], Any]) -> Handler:
    """Return a handler that answers `{"data": …}`; an AppError is `{"error": code, "message": …}`.

    Any other exception makes the invocation fail; Lambda logs the traceback.
    """

    @functools.wraps(function)
    def answer(event: dict[str, Any], context: Any) -> Any:
        account = context.invoked_function_arn.split(":")[4]
        try:
            invocation = msgspec.convert(event, Invocation)
            return {"data": msgspec.to_builtins(handle(invocation, account))}
        except msgspec.ValidationError as error:
            return _problem(InvalidRequest(f"The invocation is malformed: {error}."))
        except AppError as error:
            return _problem(error)

    return answer


def _decode(request: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(request, type=kind)
    except msgspec.ValidationError as error:
        wrong, _, place = str(error).partition(" - at `$.")
        name = f" {place.rstrip('`')}:" if place else ""
        raise InvalidRequest(f"The request is invalid.{name} {wrong}.") from error
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidRequest("The request is not valid JSON.") from error


def _problem(error: AppError) -> dict[str, str]:
    log.info("refused", problem=error.code)
    return {"error": error.code, "message": error.detail}
