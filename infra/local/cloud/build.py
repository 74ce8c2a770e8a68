"""`sam build`, when anything it reads has changed."""

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

from infra.local.cloud.children import Child
from infra.paths import BUILD, BUILD_CACHE, BUILD_LOCK, ROOT, SAM, TOOLS, LocalError, shown
from infra.stages import release

LONGEST_ERROR = 400
"""Characters; the rest is in the log."""

FINGERPRINT = BUILD / "fingerprint"
MACOS = {"arm64": "aarch64-apple-darwin", "x86_64": "x86_64-apple-darwin"}
"""Functions run on this machine, so on macOS they need its wheels: see layers/build/build.py."""

INPUTS = ["template.yaml", "functions", "layers", "infra/*.yaml", "infra/requirements/*.txt"]
LEFT_OUT = "__pycache__"


def architecture() -> str:
    """Return this machine's architecture, as Lambda calls it."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def fingerprint() -> str:
    """Return a digest of everything a build reads."""
    digest = hashlib.sha256(f"{architecture()} {sys.version_info[:2]}".encode())
    for path in sorted(_inputs()):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_built() -> bool:
    """Say whether the last build read what there is now."""
    return FINGERPRINT.exists() and FINGERPRINT.read_text() == fingerprint()


@contextlib.asynccontextmanager
async def only_one() -> AsyncIterator[None]:
    """Build or read the build alone: several stacks may run on one checkout."""
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
    """Build functions and layers. Raises LocalError."""
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
    """Run the SAM CLI. Raises LocalError with the line of its output that matters."""
    if not SAM.exists():
        raise LocalError("The SAM CLI is not installed yet: run `make setup`.")
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)])
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("AWS_")}
    manners = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.2", "PYTHONWARNINGS": "ignore"}
    child = await Child.start(
        f"sam {arguments[0]}",
        [SAM, *arguments],
        inherited | {"PATH": path} | manners | env,
        ROOT,
        log,
    )
    if await child.wait() != 0:
        said = what_matters(log.read_text(errors="replace"))
        raise LocalError(f"sam {arguments[0]} failed: {said} (log: {shown(log)})")


def what_matters(output: str) -> str:
    """Return what a tool's output says is wrong, in one line: what follows its last "Error:"."""
    *_, said = re.split(r"(?m)^Error: ", output)
    return textwrap.shorten(said, LONGEST_ERROR, placeholder=" …") or "it said nothing"


def _inputs() -> Iterator[Path]:
    for pattern in INPUTS:
        for top in ROOT.glob(pattern):
            for path in [top] if top.is_file() else top.rglob("*"):
                within = path.relative_to(ROOT).parts
                if path.is_file() and LEFT_OUT not in within and path.suffix != ".pyc":
                    yield path
