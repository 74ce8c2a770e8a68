"""MiniStack with additions for a developer's machine; MiniStack's own Python runs this file.

    python -P infra/local/cloud/emulated_aws.py STATE [--sources CHECKOUT]

- Every write to a table or to SSM is stored in a journal before it is answered, and repeated at the
  next start: MiniStack itself writes its state only when it stops, so a kill would lose all writes.
  `POST /_save` writes the state now; a save or a stop clears the journal. Queue messages are not in
  the journal: after a kill the sweep recovers their prompts.
- The code of a function and each layer are unpacked once, not once per process.
- With `--sources`, a file saved under functions/ or layers/core/ replaces the deployed file within
  a second, and all functions start again.
- Faults of calls to the services dynamodb, sqs and ssm, on demand (`POST /_faults`, see
  standins/faults.py; `match` is searched in "SERVICE.Operation body"):

    conflict    DynamoDB's error while another transaction writes the same item; not executed
    throttled   AWS's error after too many calls; not executed
    failing     500; not executed
    lost        500, although the call was executed
    swallow     a queue accepts a message, but does not store it
    double      a queue stores a message twice
"""

import asyncio
import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from ministack import app as emulator
from ministack.core import lambda_runtime
from ministack.services import dynamodb, sqs, ssm

sys.path.append(str(Path(__file__).resolve().parents[3]))  # functions do not inherit it
from infra.local.standins.faults import BadFault, Fault, Faults

WRITES: Mapping[str, set[str]] = {
    "dynamodb": {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"},
    "ssm": {"PutParameter", "DeleteParameter", "DeleteParameters"},
    "sqs": set(),
}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    kind: {} for kind in ("conflict", "throttled", "failing", "lost", "swallow", "double")
}
OF_MESSAGES = {"swallow", "double"}

EVERY = 0.5
"""Seconds between two searches for changed sources."""

type Answer = tuple[int, dict[str, str], bytes | str]
type Handle = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Answer]]
type Message = dict[str, Any]
type Send = Callable[[Message], Awaitable[None]]
type Receive = Callable[[], Awaitable[Message]]


def main() -> None:
    """Run MiniStack until it is stopped."""
    state, *rest = sys.argv[1:]
    sys.argv = sys.argv[:1]  # MiniStack would read our arguments
    services = {"dynamodb": dynamodb, "ssm": ssm, "sqs": sqs}
    direct = {name: service.handle_request for name, service in services.items()}
    journal = Journal(Path(state) / "journal.jsonl", direct)
    faults = Faults(FAULTS)
    for name, service in services.items():
        service.handle_request = wrap_handler(name, direct[name], journal, faults)
    emulator.save_all = clear_after_save(journal, emulator.save_all)
    emulator.app = add_controls(emulator.app, journal, faults)
    unpacked = Unpacked(Path(rest[1]) if rest else None)
    lambda_runtime.zipfile = SimpleNamespace(
        ZipFile=unpacked.archive,
        BadZipFile=zipfile.BadZipFile,
    )
    if rest:
        threading.Thread(target=unpacked.watch_sources, daemon=True).start()
    emulator.main()


class Journal:
    """The writes since MiniStack's state was last saved, one line each."""

    def __init__(self, path: Path, direct: Mapping[str, Handle]) -> None:
        """Keep the journal at this path; `direct` has MiniStack's own handler of each service."""
        self._path = path
        self._direct = direct

    def note(self, service: str, target: str, body: bytes) -> None:
        """Append an executed write to the journal."""
        line = json.dumps([service, target, body.decode()])
        with self._path.open("a") as lines:
            lines.write(line + "\n")

    async def repeat(self) -> None:
        """Execute every write again, in order."""
        for service, target, text in self._read():
            headers = {"x-amz-target": target}
            status, _, answer = await self._direct[service]("POST", "/", headers, text.encode(), {})
            if status != 200:
                print(f"A write in the journal was not repeated: {target}, {answer!r}", flush=True)

    def _read(self) -> Iterator[list[str]]:
        if self._path.exists():
            for line in self._path.read_text().split("\n")[:-1]:  # the last line may be incomplete
                yield json.loads(line)

    def clear(self) -> None:
        """Delete all writes, because the saved state contains them."""
        self._path.unlink(missing_ok=True)


def clear_after_save(journal: Journal, save_all: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a function that writes MiniStack's state, and then clears the journal."""

    def save(services: Any) -> None:
        save_all(services)
        journal.clear()

    return save


def wrap_handler(service: str, direct: Handle, journal: Journal, faults: Faults) -> Handle:
    """Return a service's handler that applies faults and adds writes to the journal."""

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        target = headers.get("x-amz-target", "")
        operation = target.rpartition(".")[2]
        fault = faults.take(
            f"{service}.{operation} {body.decode(errors='replace')}",
            lambda one: one.kind not in OF_MESSAGES or operation == "SendMessage",
        )
        if fault and fault.kind not in ("lost", "double"):
            return refuse(fault, operation, body)
        if fault and fault.kind == "double":
            await direct(method, path, headers, copy_message(body), query)
        answer = await direct(method, path, headers, body, query)
        if answer[0] == 200 and operation in WRITES[service]:
            journal.note(service, target, body)
        return error(500, "InternalServerError") if fault and fault.kind == "lost" else answer

    return handle


def refuse(fault: Fault, operation: str, body: bytes) -> Answer:
    """Return the answer to a call that a fault prevents."""
    match fault.kind:
        case "conflict" if operation == "TransactWriteItems":
            reason = {"Code": "TransactionConflict", "Message": "Transaction is ongoing"}
            return error(400, "TransactionCanceledException", CancellationReasons=[reason])
        case "conflict":
            return error(400, "TransactionConflictException")
        case "throttled":
            return error(400, "ThrottlingException")
        case "swallow":
            digest = hashlib.md5(json.loads(body)["MessageBody"].encode()).hexdigest()  # noqa: S324 # nosec B324 - as SQS does
            answer = {"MessageId": str(uuid4()), "MD5OfMessageBody": digest}
            return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(answer)
    return error(500, "InternalServerError")


def error(status: int, code: str, **more: Any) -> Answer:
    """Return an error response in AWS's JSON protocol."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
    return status, headers, json.dumps({"__type": code, "message": "a fault", **more})


def copy_message(body: bytes) -> bytes:
    """Return a copy of a message; a new deduplication id makes a queue accept the copy."""
    message = json.loads(body)
    if "MessageDeduplicationId" in message:
        message["MessageDeduplicationId"] = f"again-{message['MessageDeduplicationId']}"
    return json.dumps(message).encode()


def add_controls(served: Any, journal: Journal, faults: Faults) -> Any:
    """Return MiniStack with `/_save` and `/_faults`; it repeats the journal when it starts."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        async def begin(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await journal.repeat()
            await send(message)

        path = scope.get("path")
        if scope["type"] == "lifespan":
            await served(scope, receive, begin)
        elif path == "/_save":
            await save(served)
            await answer(send, 204)
        elif path == "/_faults":
            await answer(send, *await manage_faults(faults, scope["method"], receive))
        else:
            await served(scope, receive, send)

    return app


async def save(served: Any) -> None:
    """Write MiniStack's state: call the shutdown handler, which only does this."""

    async def end() -> Message:
        return {"type": "lifespan.shutdown"}

    async def ended(_message: Message) -> None:
        await asyncio.sleep(0)

    await served({"type": "lifespan"}, end, ended)


async def manage_faults(faults: Faults, method: str, receive: Receive) -> tuple[int, Any]:
    """Add, list or delete faults; return the answer's status and body."""
    if method == "DELETE":
        faults.clear()
        return 204, None
    if method == "POST":
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            faults.add(json.loads(body))
        except (BadFault, json.JSONDecodeError) as refused:
            return 400, {"error": str(refused)}
    return 201 if method == "POST" else 200, {"faults": faults.list_pending()}


async def answer(send: Send, status: int, body: Any = None) -> None:
    kind = [(b"content-type", b"application/json")] if body is not None else []
    await send({"type": "http.response.start", "status": status, "headers": kind})
    text = b"" if body is None else json.dumps(body).encode()
    await send({"type": "http.response.body", "body": text})


class Unpacked:
    """The unpacked functions and layers, and the source folders of their code."""

    def __init__(self, sources: Path | None) -> None:
        self._sources = sources
        self._folder = Path(tempfile.gettempdir()) / "unpacked"
        self._replaced: dict[Path, Path] = {}
        """The source folder of each unpacked folder; source files replace the unpacked files."""
        self._lock = threading.Lock()

    def archive(self, path: str) -> zipfile.ZipFile:
        """Return an archive that is unpacked once; later calls of `extractall` only make a link."""
        unpacked = self

        class Archive(zipfile.ZipFile):
            def extractall(self, path: Any = None, *_rest: Any) -> None:
                unpacked.link(Path(str(self.filename)), Path(path), super().extractall)

        return Archive(path)

    def link(self, archive: Path, place: Path, extract: Callable[[Path], None]) -> None:
        """Make `place` a link to the unpacked content of the archive, and delete the archive."""
        owner = place.parent.name if place.name == "code" else ""
        name = function_of(owner) or "layer"
        with self._lock:
            shared = self._folder / f"{name}-{hashlib.sha256(archive.read_bytes()).hexdigest()}"
            if not shared.exists():
                draft = self._folder / "draft"
                extract(draft)
                self._prepare(name, draft, shared)
                draft.rename(shared)
        archive.unlink()
        place.rmdir()
        place.symlink_to(shared)

    def _prepare(self, name: str, draft: Path, shared: Path) -> None:
        """Replace the unpacked files in `draft` with the source files; record the source folder."""
        if self._sources is None:
            return
        package, source = draft, self._sources / "functions" / name
        if name == "layer":
            package = draft / "python" / "geminichat"
            source = self._sources / "layers" / "core" / "geminichat"
        if package.exists() and source.exists():
            copy_changed(source, package)
            self._replaced[shared / package.relative_to(draft)] = source

    def watch_sources(self) -> None:
        """Copy every source file that is saved, and end all processes of functions."""
        seen = self._times()
        while True:
            time.sleep(EVERY)
            now = self._times()
            if now == seen:
                continue
            seen = now
            with self._lock:
                for package, source in self._replaced.items():
                    copy_changed(source, package)
            lambda_runtime.reset()

    def _times(self) -> dict[Path, int]:
        times: dict[Path, int] = {}
        for folder in ("functions", "layers/core/geminichat"):
            for path in files((self._sources or Path()) / folder):
                with contextlib.suppress(FileNotFoundError):  # an editor's temporary file
                    times[path] = path.stat().st_mtime_ns
        return times


def copy_changed(source: Path, package: Path) -> None:
    """Copy the source files that are new or differ, and delete their compiled versions."""
    for path in files(source):
        old = package / path.relative_to(source)
        if old.exists() and old.read_bytes() == path.read_bytes():
            continue
        old.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, old)
        for compiled in (old.parent / "__pycache__").glob(f"{old.stem}.*.pyc"):
            compiled.unlink()


def files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, except compiled files."""
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def function_of(process: str) -> str:
    """Return the folder name in functions/ for the folder name of a process, or ""."""
    found = re.search(r"-([A-Z]\w+|admin-\w+)-", process)  # the template names admin functions
    return re.sub(r"(?<=.)([A-Z])", r"_\1", found[1]).lower().replace("-", "_") if found else ""


if __name__ == "__main__":
    main()
