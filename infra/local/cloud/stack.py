"""stack.json: what runs where, for people, tests and the other commands."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from infra.paths import Home, LocalError

if TYPE_CHECKING:
    from botocore.config import Config


class Aws(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How the emulated AWS is reached, as its root."""

    endpoint_url: str
    region: str = "us-east-1"
    access_key_id: str = "test"
    secret_access_key: str = "test"  # noqa: S105 (MiniStack's own)

    def client(self, service: str, config: "Config | None" = None) -> Any:
        """Return a boto3 client of a service."""
        import boto3

        connect: Any = boto3.client
        return connect(
            service,
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=config,
        )


class Queue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An SQS queue."""

    name: str
    url: str
    arn: str


class Upstash(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The stand-in for Upstash Redis."""

    url: str
    token: str
    faults_url: str


class Valkey(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The Redis behind it."""

    host: str
    port: int


class Gemini(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The stand-in for Gemini."""

    url: str
    faults_url: str


class Stripe(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The stand-in for Stripe."""

    url: str
    secret_key: str
    faults_url: str


class Resources(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the template made: names by logical id; an alias's is its ARN."""

    api_id: str
    tables: dict[str, str]
    queues: dict[str, Queue]
    functions: dict[str, str]
    aliases: dict[str, str]
    log_groups: dict[str, str]
    outputs: dict[str, str]


class Stack(Resources, frozen=True, kw_only=True, rename="camel"):
    """A running stack; `gemini` and `stripe` are null where the real ones are used."""

    api_url: str
    pid: int
    started_at: str
    stack: str
    stage: str
    aws: Aws
    upstash: Upstash
    valkey: Valkey
    gemini: Gemini | None
    stripe: Stripe | None
    logs: str


def write(home: Home, stack: Stack) -> None:
    """Write the description, all at once."""
    draft = home.description.with_suffix(".tmp")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(stack), indent=2) + b"\n")
    draft.replace(home.description)


def read(home: Home) -> Stack | None:
    """Return the description of what runs, or None where nothing does."""
    if _is_free(home):
        return None
    try:
        return msgspec.json.decode(home.description.read_bytes(), type=Stack)
    except FileNotFoundError:
        return None


def running(home: Home) -> Stack:
    """Return the description of what runs. Raises LocalError where nothing does."""
    stack = read(home)
    if stack is None:
        raise LocalError("Nothing is running: start it with `make up`.")
    return stack


@contextmanager
def claimed(home: Home) -> Iterator[None]:
    """Be the one `up` of this home; the description is gone before and after."""
    home.folder.mkdir(parents=True, exist_ok=True)
    with home.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalError(_already(home)) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        home.description.unlink(missing_ok=True)
        try:
            yield
        finally:
            home.description.unlink(missing_ok=True)
            lock.truncate(0)


def _already(home: Home) -> str:
    stack = read(home)
    where = f"at {stack.api_url}" if stack else "and still starting"
    pid = home.lock.read_text() or "?"
    return (
        f"It is running already {where} (process {pid}): "
        f"stop it with Ctrl-C where it runs, or `kill {pid}`."
    )


def _is_free(home: Home) -> bool:
    try:
        with home.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
