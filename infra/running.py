"""stack.json: the description of a running local stack, for commands and tests.

`make up` writes the file to its data folder when all parts answer, and deletes the file at the end.
A running `make up` also holds a lock in the folder, so the file of a killed run is ignored.
"""

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from infra.command import CommandError

if TYPE_CHECKING:
    from botocore.config import Config

DESCRIPTION = "stack.json"
LOCK = "up.lock"


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One part of a running stack."""


class Aws(Part, frozen=True):
    """The emulated AWS, and the credentials of its root user."""

    endpoint_url: str
    region: str = "us-east-1"
    access_key_id: str = "test"
    secret_access_key: str = "test"  # noqa: S105 (MiniStack's own)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which AWS's SDKs and tools use the emulated AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str, config: "Config | None" = None) -> Any:
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


class Queue(Part, frozen=True):
    """An SQS queue."""

    name: str
    url: str
    arn: str


class Upstash(Part, frozen=True):
    """The stand-in for Upstash Redis."""

    url: str
    token: str


class Valkey(Part, frozen=True):
    """The Redis server behind the stand-in for Upstash."""

    host: str
    port: int


class Gemini(Part, frozen=True):
    """The stand-in for Gemini."""

    url: str


class Stripe(Part, frozen=True):
    """The stand-in for Stripe."""

    url: str
    secret_key: str


class Resources(Part, frozen=True):
    """The template's resources by logical id: their names, and the ARNs of aliases."""

    api_id: str
    live_api_id: str
    tables: dict[str, str]
    queues: dict[str, Queue]
    functions: dict[str, str]
    aliases: dict[str, str]
    log_groups: dict[str, str]
    outputs: dict[str, str]


class Stack(Resources, frozen=True):
    """A running stack; `gemini` and `stripe` are None if the real services are used."""

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


def find(folder: Path) -> Stack | None:
    """Return the stack that runs in a data folder, or None."""
    if not is_locked(folder):
        return None
    try:
        return msgspec.json.decode((folder / DESCRIPTION).read_bytes(), type=Stack)
    except FileNotFoundError:
        return None


def get(folder: Path) -> Stack:
    """Return the stack that runs in a data folder. Raises CommandError if no stack runs there."""
    stack = find(folder)
    if stack is None:
        raise CommandError("Nothing is running: start it with `make up`.")
    return stack


def is_locked(folder: Path) -> bool:
    """Return whether a `make up` holds the lock of a data folder."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
