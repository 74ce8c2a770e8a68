"""The Stripe events table: which events were handled, for thirty days."""

from datetime import timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain import times
from geminichat.domain.webhooks import StripeEvent
from geminichat.tables.table import Table

KEPT = timedelta(days=30)
"""Stripe sends an event again for three days; by hand it can be sent for thirty."""


class HandledEvent(Table):
    """An event whose news is in the subscriptions table."""

    class Meta:
        setting = "STRIPE_EVENTS_TABLE"

    event_id = UnicodeAttribute(hash_key=True)
    type = UnicodeAttribute()
    handled_at = UnicodeAttribute()
    expires_at = NumberAttribute()


def is_handled(event: StripeEvent) -> bool:
    """Say whether an event was handled."""
    try:
        HandledEvent.get(event.id, consistent_read=True)
    except HandledEvent.DoesNotExist:
        return False
    return True


def handled(event: StripeEvent) -> HandledEvent:
    """Return the note, for use in a transaction, that an event is handled now."""
    now = times.now()
    return HandledEvent(
        event.id,
        type=event.type,
        handled_at=times.text(now),
        expires_at=int((now + KEPT).timestamp()),
    )


def mark_handled(event: StripeEvent) -> None:
    """Note that an event is handled: what is stored has its news already."""
    handled(event).save()
