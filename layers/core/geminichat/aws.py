"""The one botocore session that every AWS client of a sandbox is made from.

A second client then costs a tenth of the first. PynamoDB is given the same session, see
`geminichat.tables.connection`.
"""

from threading import Lock

from botocore.session import Session, get_session

_session: Session | None = None
_lock = Lock()


def session() -> Session:
    """Return the session, made at first use."""
    global _session
    with _lock:
        if _session is None:
            _session = get_session()
        return _session
