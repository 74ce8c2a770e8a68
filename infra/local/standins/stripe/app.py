"""The stand-in as one web application: Stripe's API under /v1, the pages, and the test controls.

Faults (see faults.py; `match` is searched in "METHOD /path parameters"). With `done` the stand-in
executes the call before the fault, so that only the answer is lost:

    error   `status` 400 to 404, 409, 429, 500 (default), 502 or 503; any `code` and `message`
    stall   answers after `seconds` (default: one hour)
    drop    closes the connection without an answer
    drip    sends the answer byte by byte, a byte every `seconds` (default: 0.1)
    garbage 200 with a body that is not JSON
    hold    executes the call, and answers after DELETE /_holds/{name}
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from aiohttp import web

from infra.local.standins.faults import Fault, Faults, Journal, Rule, admin_routes
from infra.local.standins.stripe.api import Api, Operation
from infra.local.standins.stripe.browser import Browser
from infra.local.standins.stripe.controls import Controls
from infra.local.standins.stripe.events import API_VERSION, Endpoint, EventLog
from infra.local.standins.stripe.ledger import Ledger, new_id, to_public
from infra.local.standins.stripe.protocol import (
    IdempotencyKeys,
    Json,
    Params,
    Rejected,
    parse_form,
)

ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("invalid_request_error", "Invalid API Key provided."),
    402: ("card_error", "Your card was declined."),
    403: ("invalid_request_error", "The provided key does not have access."),
    404: ("invalid_request_error", "Unrecognized request URL."),
    409: ("invalid_request_error", "This object is locked by another request."),
    429: ("invalid_request_error", "Request rate limit exceeded."),
    500: ("api_error", "An unexpected error occurred."),
    502: ("api_error", "Bad gateway."),
    503: ("api_error", "Service unavailable."),
}
DONE = (True, False)
FAULTS: Mapping[str, Mapping[str, Rule]] = {
    "error": {"status": ERRORS, "code": str, "message": str, "done": DONE},
    "stall": {"seconds": float, "done": DONE},
    "drop": {"done": DONE},
    "drip": {"seconds": float},
    "garbage": {"done": DONE},
    "hold": {"name": str},
}

type Answer = tuple[int, Json]


def create_app(
    secret_key: str, endpoint: Endpoint | None = None, *, file: Path | None = None
) -> web.Application:
    """Return the stand-in for the account with this secret key; `sk_live_` means live mode.

    With a `file`, the state is kept in the file for the next run.
    """
    stand_in = _Stripe(secret_key, endpoint or Endpoint(), file)
    app = web.Application(client_max_size=1024 * 1024)
    app.cleanup_ctx.append(stand_in.events.run)
    app.cleanup_ctx.append(stand_in.run)
    app.on_shutdown.append(stand_in.stop)
    app.add_routes(stand_in.routes())
    return app


class _Stripe:
    def __init__(self, secret_key: str, endpoint: Endpoint, file: Path | None) -> None:
        self._secret_key = secret_key
        self._faults, self._journal = Faults(FAULTS), Journal()
        self._keys = IdempotencyKeys()
        self._holds: dict[str, asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._file = file
        self._saved = ""
        livemode = secret_key.startswith(("sk_live_", "rk_live_"))
        self.events = EventLog(endpoint, livemode=livemode, clock=lambda: self.ledger.clock)
        self.ledger = Ledger(livemode=livemode, emit=self.events.emit)

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """Restore the state; then apply due changes and persist the state every 0.5 s."""
        if self._file and self._file.exists():
            state = json.loads(self._file.read_text())
            self.ledger.restore(state["ledger"])
            self.events.restore(state["undelivered"])
            self.events.resend()

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.5)
                self.ledger.catch_up()
                self._save()

        task = asyncio.get_running_loop().create_task(tick())
        yield
        task.cancel()
        self._save()

    async def stop(self, _app: web.Application) -> None:
        """Release the answers that are held or stalled."""
        self._stopping.set()
        for hold in self._holds.values():
            hold.set()

    def _save(self) -> None:
        if self._file is None:
            return
        state = {"ledger": self.ledger.state(), "undelivered": self.events.list_undelivered()}
        text = json.dumps(state)
        if text != self._saved:
            draft = self._file.with_suffix(".tmp")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(text)
            draft.replace(self._file)
            self._saved = text

    def routes(self) -> list[web.RouteDef]:
        api = Api(self.ledger)
        return [
            *admin_routes(self._faults, self._journal),
            *Browser(self.ledger).routes(),
            *Controls(self.ledger, self.events, self._holds).routes(),
            *(
                web.route(method, path, partial(self._call, operation))
                for method, path, operation in api.operations()
            ),
        ]

    # One API call: key, faults, idempotency, and Stripe's errors

    async def _call(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        encoded = await request.text() or request.query_string
        self.ledger.catch_up()
        text = f"{request.method} {request.path} {encoded}"
        key = request.headers.get("idempotency-key")
        self._journal.note(
            {
                "method": request.method,
                "path": request.path,
                "params": parse_form(encoded),
                "idempotencyKey": key,
                "version": request.headers.get("stripe-version"),
            }
        )
        if not self._is_authorized(request):
            rejected = Rejected("Invalid API Key provided.", status=401)
            return self._answer(rejected.status, rejected.body)
        fault = self._faults.take(text)
        execute = partial(self._execute, operation, encoded, request)
        if not key or request.method != "POST":
            return await self._with_fault(fault, request, execute)
        try:
            saved = self._keys.begin(key, request.method, request.path, encoded, self.ledger.clock)
        except Rejected as rejected:
            return self._answer(rejected.status, rejected.body)
        if saved:
            return await self._with_fault(fault, request, lambda: saved, replayed=True)
        try:
            return await self._with_fault(fault, request, execute, partial(self._store, key))
        finally:
            self._keys.release(key)

    def _store(self, key: str, answer: Answer) -> None:
        self._keys.finish(key, *answer)

    async def _with_fault(
        self,
        fault: Fault | None,
        request: web.Request,
        execute: Callable[[], Answer],
        store: Callable[[Answer], None] = lambda _: None,
        *,
        replayed: bool = False,
    ) -> web.StreamResponse:
        """Return the answer to a call with a fault; store the answer if the call was executed."""
        kind = fault.kind if fault else ""
        settings = fault.settings if fault else {}
        answer: Answer | None = None
        if kind in ("", "hold", "drip") or settings.get("done"):
            answer = execute()
        if kind == "hold":
            await self._hold(settings.get("name", "hold"))
        if kind == "error":
            answer = _failure(settings)
        if answer:
            store(answer)
        if kind == "stall":
            with suppress(TimeoutError):
                seconds = settings.get("seconds", 3600)
                await asyncio.wait_for(self._stopping.wait(), seconds)
            if answer is None:
                answer = execute()
                store(answer)
        if kind == "drip":
            return await self._drip(request, *(answer or (500, {})), settings)
        if kind == "drop" and request.transport:
            request.transport.abort()
        if kind == "garbage":
            return web.Response(body=b"<html>oops</html>", content_type="text/html")
        return self._answer(*(answer or (500, {})), replayed=replayed)

    async def _drip(
        self, request: web.Request, status: int, body: Json, settings: Json
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the client has disconnected
            for byte in json.dumps(body).encode():
                if self._stopping.is_set():
                    break
                await response.write(bytes([byte]))
                await asyncio.sleep(settings.get("seconds", 0.1))
            await response.write_eof()
        return response

    def _execute(self, operation: Operation, encoded: str, request: web.Request) -> Answer:
        try:
            params = Params(parse_form(encoded))
            answer = operation(params, request=request, **request.match_info)
            params.reject_unknown()
        except Rejected as rejected:
            return rejected.status, rejected.body
        answer = to_public(answer)
        if "data" in answer:
            answer["data"] = [to_public(thing) for thing in answer["data"]]
        return 200, answer

    async def _hold(self, name: str) -> None:
        self._holds[name] = asyncio.Event()
        await self._holds[name].wait()

    def _is_authorized(self, request: web.Request) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            credentials = base64.b64decode(credentials).decode().partition(":")[0]
        return credentials == self._secret_key

    def _answer(self, status: int, body: Json, *, replayed: bool = False) -> web.Response:
        headers = {"request-id": new_id("req", 14), "stripe-version": API_VERSION}
        if replayed:
            headers["idempotent-replayed"] = "true"
        return web.json_response(body, status=status, headers=headers)


def _failure(settings: Json) -> Answer:
    status = settings.get("status", 500)
    kind, message = ERRORS[status]
    rejected = Rejected(
        settings.get("message", message), status=status, kind=kind, code=settings.get("code")
    )
    return status, rejected.body
