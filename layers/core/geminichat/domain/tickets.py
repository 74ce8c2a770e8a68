"""Tickets: each opens one WebSocket connection of a session, once, within a minute.

A ticket cannot serve as an access token, and an access token cannot serve as a ticket: their keys,
forms and audiences differ. A ticket is verified without a network call; `tables.live` stores the
used nonces.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Self

import msgspec

from geminichat.domain.sessions import Claims
from geminichat.errors import Unauthorized

AUDIENCE = "live"
LIFETIME = timedelta(seconds=60)
MAC_BYTES = 32


PING_AFTER = timedelta(minutes=5)
"""Clients prolong a connection after this time; API Gateway closes it after ten idle minutes."""


class InvalidTicket(Unauthorized):
    """The ticket is forged, malformed or expired, or belongs to another stage."""

    code = "invalid-ticket"


class TicketUsed(InvalidTicket):
    """The ticket has already opened a connection."""

    code = "ticket-used"


class LiveAddress(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The URL of the WebSocket, with a ticket that opens it once; lifetimes in seconds."""

    url: str
    expires_in: int
    ping_after: int

    @classmethod
    def of(cls, url: str, ticket: str) -> Self:
        """Return the URL with the ticket, and the lifetimes."""
        return cls(
            url=f"{url}?ticket={ticket}",
            expires_in=int(LIFETIME.total_seconds()),
            ping_after=int(PING_AFTER.total_seconds()),
        )


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a ticket: a user's session, the stage, the expiry time and a nonce."""

    audience: str = AUDIENCE
    stage: str
    user_id: str
    session_id: str
    expires_at: int
    nonce: str


def issue(session: Claims, stage: str, kid: str, key: bytes, now: datetime) -> str:
    """Return a ticket for a session, valid from `now`."""
    ticket = Ticket(
        stage=stage,
        user_id=session.user_id,
        session_id=session.session_id,
        expires_at=int((now + LIFETIME).timestamp()),
        nonce=secrets.token_urlsafe(16),
    )
    payload = msgspec.json.encode(ticket)
    text = base64.urlsafe_b64encode(_mac(payload, key) + payload).decode().rstrip("=")
    return f"{kid}.{text}"


def verify(text: str, stage: str, keys: Mapping[str, bytes], now: datetime) -> Ticket:
    """Return a ticket's contents. Raises InvalidTicket."""
    kid, _, encoded = text.partition(".")
    try:
        blob = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        tag, payload = blob[:MAC_BYTES], blob[MAC_BYTES:]
        if not hmac.compare_digest(tag, _mac(payload, keys[kid])):
            raise InvalidTicket()
        ticket = msgspec.json.decode(payload, type=Ticket)
    except (KeyError, binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidTicket() from error
    is_ours = ticket.audience == AUDIENCE and ticket.stage == stage
    if not is_ours or now.timestamp() >= ticket.expires_at:
        raise InvalidTicket()
    return ticket


def _mac(payload: bytes, key: bytes) -> bytes:
    derived = hmac.digest(key, b"geminichat live", "sha256")
    return hmac.digest(derived, payload, "sha256")
