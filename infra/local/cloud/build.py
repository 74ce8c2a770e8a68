"""`sam build`, run only if one of its inputs has changed."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from infra import setup
from infra.command import CommandError
from infra.local.cloud.programs import Program
from infra.paths import BUILD, BUILD_CACHE, BUILD_LOCK, ROOT, SAM, TOOLS, display_path
from infra.stages import release

LONGEST_ERROR = 400
"""Longer errors are cut off after this number of characters; the log has the whole error."""

FINGERPRINT = BUILD / "fingerprint"
MACOS = {"arm64": "aarch64-apple-darwin", "x86_64": "x86_64-apple-darwin"}
"""For a build on macOS: the platform of the wheels per architecture (layers/build/build.py)."""

INPUTS = ["template.yaml", "functions", "layers", "infra/*.yaml", "infra/requirements/*.txt"]
LEFT_OUT = "__pycache__"


def architecture() -> str:
    """Return Lambda's name for this machine's architecture."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def fingerprint() -> str:
    """Return a digest of all inputs of a build."""
    digest = hashlib.sha256(f"{architecture()} {sys.version_info[:2]}".encode())
    for path in sorted(_inputs()):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_built() -> bool:
    """Return whether the last build was made from the current inputs."""
    return FINGERPRINT.exists() and FINGERPRINT.read_text() == fingerprint()


@contextlib.asynccontextmanager
async def lock() -> AsyncIterator[None]:
    """Hold the build's lock while the block runs: several stacks may run on one checkout."""
    TOOLS.mkdir(exist_ok=True)
    with BUILD_LOCK.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.2)
        yield


async def build(log: Path) -> None:
    """Build functions and layers. Raises CommandError."""
    before = fingerprint()
    FINGERPRINT.unlink(missing_ok=True)
    await run_sam(
        [
            "build",
            "--template-file",
            ROOT / "template.yaml",
            "--build-dir",
            BUILD,
            "--cached",
            "--cache-dir",
            BUILD_CACHE,
            "--parameter-overrides",
            f"Architecture={architecture()}",
        ],
        {"LAYER_PLATFORM": MACOS[architecture()]} if sys.platform == "darwin" else {},
        log,
    )
    release.compile_functions(BUILD)
    FINGERPRINT.write_text(before)


async def run_sam(arguments: list[str | Path], env: dict[str, str], log: Path) -> None:
    """Run the SAM CLI. Raises CommandError with the error that the CLI printed."""
    if not SAM.exists():
        raise CommandError("The SAM CLI is not installed yet: run `make setup`.")
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)])
    inherited = {name: v for name, v in setup.environment().items() if not name.startswith("AWS_")}
    settings = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.2", "PYTHONWARNINGS": "ignore"}
    program = await Program.start(
        f"sam {arguments[0]}",
        [SAM, *arguments],
        inherited | {"PATH": path} | settings | env,
        ROOT,
        log,
    )
    if await program.wait() != 0:
        reason = error_in(log.read_text(errors="replace"))
        raise CommandError(f"sam {arguments[0]} failed: {reason} (log: {display_path(log)})")


def error_in(output: str) -> str:
    """Return a tool's last error (the text after "Error:"), or all its output, as one line."""
    *_, reason = re.split(r"(?m)^Error: ", output)
    return textwrap.shorten(reason, LONGEST_ERROR, placeholder=" …") or "it printed nothing"


def _inputs() -> Iterator[Path]:
    for pattern in INPUTS:
        for top in ROOT.glob(pattern):
            for path in [top] if top.is_file() else top.rglob("*"):
                within = path.relative_to(ROOT).parts
                if path.is_file() and LEFT_OUT not in within and path.suffix != ".pyc":
                    yield path
