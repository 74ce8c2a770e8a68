"""The paths of this checkout and of its tools."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".local"
MINISTACK_PYTHON = TOOLS / "ministack" / "bin" / "python"
SAM = TOOLS / "sam" / "bin" / "sam"
BUILD = TOOLS / "build"
BUILD_CACHE = TOOLS / "build-cache"
BUILD_LOCK = TOOLS / "build.lock"


def display_path(path: Path) -> str:
    """Return the path, relative to the current folder if that folder contains it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
