"""The folder with the data, the logs and the description of one local stack."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from infra import running
from infra.command import CommandError
from infra.running import Stack


@dataclass(frozen=True)
class DataFolder:
    """The data folder of one local stack: `.local`, unless a command names another folder."""

    path: Path

    @property
    def data(self) -> Path:
        """The folder with the data that survives a restart."""
        return self.path / "data"

    @property
    def ports(self) -> Path:
        """The last run's ports; the next run uses the same ports, so stored URLs stay valid."""
        return self.data / "ports.json"

    @property
    def scratch(self) -> Path:
        """The folder for temporary files of the running programs, such as unpacked functions."""
        return self.path / "tmp"

    @property
    def logs(self) -> Path:
        """The folder with one log each for MiniStack, Valkey, the build and the deployment."""
        return self.path / "logs"

    def write(self, stack: Stack) -> None:
        """Write the description of the running stack atomically."""
        draft = self.path / "stack.tmp"
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(stack), indent=2) + b"\n")
        draft.replace(self.path / running.DESCRIPTION)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder's lock while the block runs; delete the description before and after.

        Raises CommandError if another `make up` holds the lock, or the folder cannot be written.
        """
        description = self.path / running.DESCRIPTION
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / running.LOCK).open("a+")
        except OSError as error:
            raise CommandError(
                f"The data folder {self.path} cannot be written: {error.strerror}. Change the "
                "folder's owner or permissions, or use a checkout in a writable folder."
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CommandError(self._already_running()) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            description.unlink(missing_ok=True)
            try:
                yield
            finally:
                description.unlink(missing_ok=True)
                lock.truncate(0)

    def _already_running(self) -> str:
        stack = running.find(self.path)
        where = f"at {stack.api_url}" if stack else "and still starting"
        pid = (self.path / running.LOCK).read_text() or "?"
        return (
            f"`make up` is already running {where} (process {pid}). "
            f"Stop it with Ctrl-C in its terminal, or with `kill {pid}`."
        )
