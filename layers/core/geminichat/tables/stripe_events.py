"""The Stripe events table: the events that were handled within the last thirty days."""

from datetime import timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain import times
from geminichat.domain.webhooks import StripeEvent
from geminichat.runtime import clock
from geminichat.tables.table import Table, Write, find_item, put, put_if

KEPT = timedelta(days=30)
"""The time for which handled events are stored: an operator can resend an event for 30 days."""


class HandledEvent(Table):
    """An event that was handled: its change is stored in the subscriptions table."""

    class Meta:
        setting = "STRIPE_EVENTS_TABLE"

    event_id = UnicodeAttribute(hash_key=True)
    type = UnicodeAttribute()
    handled_at = UnicodeAttribute()
    expires_at = NumberAttribute()


def is_handled(event: StripeEvent) -> bool:
    """Return whether an event was handled before."""
    return find_item(HandledEvent, event.id) is not None


def put_handled(event: StripeEvent) -> Write:
    """Return the write "event", which marks an event as handled."""
    return put("event", _new_item(event))


def mark_handled(event: StripeEvent) -> None:
    """Mark an event as handled. Raises Contended if other transactions lock the item for long."""
    put_if(_new_item(event), None)


def _new_item(event: StripeEvent) -> HandledEvent:
    now = clock.now()
    return HandledEvent(
        event.id,
        type=event.type,
        handled_at=times.text(now),
        expires_at=int((now + KEPT).timestamp()),
    )
