"""Origins of the web pages that may open a WebSocket; browsers do not check this with CORS."""

from collections.abc import Collection
from typing import ClassVar

from geminichat.errors import AppError


class ForeignOrigin(AppError):
    """The web page may not open a connection."""

    status: ClassVar[int] = 403
    code: ClassVar[str] = "foreign-origin"
    detail = "This origin may not open a connection."


def require_allowed(origin: str | None, allowed: Collection[str]) -> None:
    """Check the origin that a browser sends; other clients send none. Raises ForeignOrigin.

    As in the CORS rules of API Gateway, "*" allows every origin, and "https://*" allows every
    origin with the scheme https.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return
    scheme, _, host = origin.partition("://")
    if not host or f"{scheme}://*" not in allowed:
        raise ForeignOrigin()
