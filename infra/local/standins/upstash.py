"""A stand-in for Upstash Redis: its REST protocol in front of a real Valkey.

    POST /              ["SET", "k", "v"]               one command
    POST /pipeline      [["INCR", "k"], ["GET", "k"]]   commands, each with a result or an error
    POST /multi-exec    [["INCR", "k"], ["GET", "k"]]   commands in one transaction

Results and statuses are Upstash's: 200 {"result": …}, 400 {"error": …} for a command that failed,
401 for a wrong token. With `Upstash-Encoding: base64` every string but "OK" is in base64. Upstash
also accepts a command in the path of a URL. This stand-in does not: upstash-redis sends no such
command.

Faults (see faults.py; `match` is searched in the command's words, joined by spaces):

    drop     the connection is closed, the command is not run
    lost     the command is run, then the connection is closed
    slow     the command is run after `seconds`
    status   the status `status` (default 503) with a body that is not JSON, as from a proxy
    error    400 with the error `message`, the command is not run
    lie      200 with the result `result` (default null), the command is not run

If Valkey is not reachable, the response is the same as for the fault `status`.
"""

import asyncio
import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from infra.local.standins.faults import Fault, Faults, Journal, Rule, admin_routes
from infra.local.standins.resp import Pool, Reply, RespError

FAULTS: Mapping[str, Mapping[str, Rule]] = {
    "drop": {},
    "lost": {},
    "slow": {"seconds": float},
    "status": {"status": range(400, 600)},
    "error": {"message": str},
    "lie": {"result": object},
}

WRONG_TOKEN = "WRONGPASS invalid or missing auth token"  # noqa: S105 (what Upstash answers)
MAX_BODY = 10 * 1024 * 1024

Command = list[str]


def create_app(host: str, port: int, token: str) -> web.Application:
    """Return the application in front of the Valkey at this address."""
    faults, journal = Faults(FAULTS), Journal()
    stand_in = _Upstash(Pool(host, port), token, faults, journal)
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(admin_routes(faults, journal))
    app.router.add_post("/pipeline", stand_in.pipeline)
    app.router.add_post("/multi-exec", stand_in.transaction)
    app.router.add_post("/", stand_in.command)
    app.on_cleanup.append(stand_in.close)
    return app


class _Refused(Exception):
    """The error response to a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.response = web.json_response({"error": message}, status=status)


class _Upstash:
    def __init__(self, pool: Pool, token: str, faults: Faults, journal: Journal) -> None:
        self._pool = pool
        self._token = token
        self._faults = faults
        self._journal = journal

    async def close(self, _app: web.Application) -> None:
        """Close the connections to Valkey."""
        self._pool.close()

    async def command(self, request: web.Request) -> web.StreamResponse:
        """Run the command in the request's body."""
        broken = "ERR failed to parse command"
        try:
            self._check_token(request)
            command = _parse_command(_json(await request.read(), broken), broken)
        except _Refused as refused:
            return refused.response
        return await self._answer(request, [command], single=True)

    async def pipeline(self, request: web.Request) -> web.StreamResponse:
        """Run several commands, one after another."""
        return await self._several(request, "pipeline")

    async def transaction(self, request: web.Request) -> web.StreamResponse:
        """Run several commands in one transaction."""
        return await self._several(request, "multi-exec")

    async def _several(self, request: web.Request, kind: str) -> web.StreamResponse:
        try:
            self._check_token(request)
            commands = _commands(await request.read(), kind)
        except _Refused as refused:
            return refused.response
        return await self._answer(request, commands, atomic=kind == "multi-exec")

    def _check_token(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token != self._token:
            raise _Refused(401, WRONG_TOKEN)

    async def _answer(
        self,
        request: web.Request,
        commands: Sequence[Command],
        *,
        single: bool = False,
        atomic: bool = False,
    ) -> web.StreamResponse:
        text = "\n".join(" ".join(command) for command in commands)
        self._journal.note({"time": time.time(), "path": request.path, "commands": text})
        fault = self._faults.take(text)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.settings.get("seconds", 1))
        if fault and fault.kind not in ("slow", "lost"):
            return _response_of(request, fault, single=single)

        try:
            replies = await self._run(commands, atomic=atomic)
        except RespError as error:
            return web.json_response({"error": str(error)}, status=400)
        except (OSError, EOFError):
            return _unavailable(503)
        if fault and fault.kind == "lost":
            return _drop(request)

        encoded = request.headers.get("upstash-encoding", "").lower() == "base64"
        results = [_result(reply, encoded=encoded) for reply in replies]
        if not single:
            return web.json_response(results)
        return web.json_response(results[0], status=400 if "error" in results[0] else 200)

    async def _run(self, commands: Sequence[Command], *, atomic: bool) -> list[Reply]:
        """Return a reply or an error for each command.

        Raises RespError if a transaction was discarded.
        """
        if not atomic:
            return await self._pool.run(commands)
        replies = await self._pool.run([["MULTI"], *commands, ["EXEC"]])
        results = replies[-1]
        if isinstance(results, list):
            return results
        raise next(reply for reply in replies if isinstance(reply, RespError))


def _commands(body: bytes, kind: str) -> list[Command]:
    broken = f"ERR failed to parse {kind} request"
    listed = _json(body, broken)
    if not isinstance(listed, list) or not listed:
        raise _Refused(400, broken)
    return [_parse_command(command, broken) for command in listed]


def _json(body: bytes, broken: str) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise _Refused(400, broken) from error


def _parse_command(command: Any, broken: str) -> Command:
    if not isinstance(command, list) or not command:
        raise _Refused(400, broken)
    if not all(isinstance(word, str | int | float) for word in command):
        raise _Refused(400, broken)
    return [word if isinstance(word, str) else json.dumps(word) for word in command]


def _result(reply: Reply, *, encoded: bool) -> dict[str, Any]:
    if isinstance(reply, RespError):
        return {"error": str(reply)}
    return {"result": _value(reply, encoded=encoded)}


def _value(reply: Reply, *, encoded: bool) -> Any:
    if isinstance(reply, list):
        return [_value(element, encoded=encoded) for element in reply]
    if isinstance(reply, RespError):
        reply = str(reply).encode()
    if not isinstance(reply, bytes):
        return reply
    if encoded and reply != b"OK":
        return base64.b64encode(reply).decode()
    return reply.decode(errors="replace")


def _response_of(request: web.Request, fault: Fault, *, single: bool) -> web.StreamResponse:
    """Return the response of a fault that does not run the command."""
    settings = fault.settings
    if fault.kind == "status":
        return _unavailable(settings.get("status", 503))
    if fault.kind == "error":
        message = settings.get("message", "ERR max requests limit exceeded")
        return web.json_response({"error": message}, status=400)
    if fault.kind == "lie":
        result = {"result": settings.get("result")}
        return web.json_response(result if single else [result])
    return _drop(request)


def _unavailable(status: int) -> web.Response:
    return web.Response(text="upstream connect error", status=status)


def _drop(request: web.Request) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    return web.Response()
