"""The one botocore session that every AWS client of a sandbox is made from.

A second client then costs a tenth of the first. PynamoDB is given the same session, see
`geminichat.tables.connection`.
"""

from threading import RLock
from typing import Any

from botocore.config import Config
from botocore.session import Session, get_session

making = RLock()
"""Held while a client is made: threads may share botocore's clients, but not its sessions."""

_session: Session | None = None


def session() -> Session:
    """Return the session, made at first use."""
    global _session
    with making:
        if _session is None:
            _session = get_session()
        return _session


def client(service: str, config: Config) -> Any:
    """Return a new client of a service."""
    with making:
        return session().create_client(service, config=config)
