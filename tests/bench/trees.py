"""The packages of functions and references: the output of `sam build`, and PyPI's packages.

Every package is compiled to byte-code in the same way, so that none has an advantage.
"""

import asyncio
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.local.cloud import build
from infra.paths import BUILD, ROOT, TOOLS
from infra.stages import release
from layers.build.build import compile_all
from tests.bench.host import BenchError

HOME = TOOLS / "bench"
PYTHON = (TOOLS / "bin" / "python3.13").resolve()
REQUIREMENTS = Path(__file__).parent / "requirements"
REFERENCES = HOME / "references"
"""Copies of the references with byte-code, which the built functions have too."""

AS_SHIPPED = {
    "core": [ROOT / "layers" / "core" / "requirements.txt"],
    "gemini": [ROOT / "layers" / "gemini" / "requirements.txt"],
    "stripe": [ROOT / "layers" / "stripe" / "requirements.txt"],
    "runtime": [REQUIREMENTS / "runtime.txt"],
    "powertools": [REQUIREMENTS / "powertools.txt"],
    "fastapi": [REQUIREMENTS / "fastapi.txt"],
}
"""The requirements to install for each tree of packages as PyPI ships them."""


@dataclass(frozen=True)
class Trees:
    """The folders of the builds and packages."""

    built: Path
    """The output of `sam build`: one folder per function and layer."""
    shipped: Path
    """Packages as shipped: one folder per name in AS_SHIPPED."""

    def layer(self, name: str) -> Path:
        """Return the packages of one of our layers, as Lambda has them under /opt/python."""
        return self.built / f"{name.title()}Layer" / "python"

    def function(self, name: str) -> Path:
        """Return the folder of a function, by its logical id."""
        return self.built / name

    def package(self, name: str) -> Path:
        """Return the folder of packages as shipped; `name` is a key of AS_SHIPPED."""
        return self.shipped / name


def prepare() -> Trees:
    """Build the functions and layers, and install the packages. Raises BenchError, CommandError."""
    if not PYTHON.exists():
        raise BenchError("Python 3.13 is not set up here: run `make setup`.")
    HOME.mkdir(parents=True, exist_ok=True)
    asyncio.run(_build())
    for name, requirements in AS_SHIPPED.items():
        _install(name, requirements)
    shutil.rmtree(REFERENCES, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / "references", REFERENCES)
    release.compile_functions(REFERENCES)
    return Trees(_copy(), HOME / "shipped")


async def _build() -> None:
    async with build.lock():
        if not build.is_built():
            print("Building functions and layers …", flush=True)
            await build.build(HOME / "sam-build.log")


def _copy() -> Path:
    """Copy the build, because a new build may replace it during the measurement."""
    kept = HOME / "build"
    mark = kept / "fingerprint"
    expected = (BUILD / "fingerprint").read_text()
    if not mark.exists() or mark.read_text() != expected:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(BUILD, kept, symlinks=True, ignore=shutil.ignore_patterns("fingerprint"))
        mark.write_text(expected)
    return kept


def _install(name: str, requirements: list[Path]) -> None:
    folder = HOME / "shipped" / name
    mark = folder / ".complete"
    expected = hashlib.sha256(b"".join(path.read_bytes() for path in requirements)).hexdigest()
    if mark.exists() and mark.read_text() == expected:
        return
    print(f"Installing {name} as it is shipped …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    command: list[str | Path] = [
        TOOLS / "bin" / "uv",
        "pip",
        "install",
        "--quiet",
        "--no-config",
        "--no-deps",
    ]
    command += ["--link-mode", "copy", "--python", PYTHON, "--only-binary", ":all:"]
    command += ["--require-hashes", "--target", folder]
    for path in requirements:
        command += ["--requirement", path]
    if subprocess.run(command).returncode:
        raise BenchError(f"{name} could not be installed: see uv's message above.")
    compile_all(folder)
    mark.write_text(expected)
