"""Where things are: the checkout, its tools, and the home of one emulated cloud."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".local"
MINISTACK_PYTHON = TOOLS / "ministack" / "bin" / "python"
SAM = TOOLS / "sam" / "bin" / "sam"
BUILD = TOOLS / "build"
BUILD_CACHE = TOOLS / "build-cache"
BUILD_LOCK = TOOLS / "build.lock"


class LocalError(Exception):
    """What went wrong and the way out, in one line for a person."""


@dataclass(frozen=True)
class Home:
    """The folder that holds the data, the logs and the description of one emulated cloud."""

    folder: Path

    @property
    def description(self) -> Path:
        """What runs where, while it runs."""
        return self.folder / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the one `up` of this home."""
        return self.folder / "up.lock"

    @property
    def data(self) -> Path:
        """What survives a restart."""
        return self.folder / "data"

    @property
    def ports(self) -> Path:
        """The ports of the last time: what is stored knows addresses."""
        return self.data / "ports.json"

    @property
    def scratch(self) -> Path:
        """Temporary files of what runs: unpacked functions, mostly."""
        return self.folder / "tmp"

    @property
    def logs(self) -> Path:
        """A log each for MiniStack, Valkey, the build and the deployment."""
        return self.folder / "logs"


def shown(path: Path) -> str:
    """Return a path as a person at the checkout would type it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
