"""Sync a user's stored subscription with Stripe: fetch the current state and store it.

Every operation that learns of a change at Stripe, or that requires the current state, syncs.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import NamedTuple

from geminichat.clients import payments
from geminichat.domain.billing import SubscriptionState
from geminichat.domain.webhooks import StripeEvent
from geminichat.runtime import log
from geminichat.tables import stripe_events, subscriptions
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import Write


class Synced(NamedTuple):
    """The item before a sync, and the state that the sync stored."""

    before: Subscription
    state: SubscriptionState


def handle_event(event: StripeEvent, customer_id: str, now: datetime) -> bool:
    """Sync an event's customer, once per event; return False if there was nothing to do.

    Events of customers that this stage did not create are ignored. Raises PaymentProviderFailed.
    """
    if stripe_events.is_handled(event):
        return False
    known = subscriptions.find_by_customer(customer_id) or _find_owner(customer_id)
    if known is None:
        return False
    if sync(known, customer_id, now, mark=stripe_events.put_handled(event)) is None:
        stripe_events.mark_handled(event)
    return True


def _find_owner(customer_id: str) -> Subscription | None:
    """Return the item of the user for whom this stage created the customer, or None."""
    user_id = payments.find_owner(customer_id)
    if user_id is None:
        return None
    known = subscriptions.load(user_id)
    return known if can_have_customer(known, customer_id) else None


def can_have_customer(known: Subscription, customer_id: str) -> bool:
    """Return whether a user has this customer or none; log an error for a second customer."""
    if known.stripe_customer_id in (None, customer_id):
        return True
    log.error("user has a second customer", user_id=known.user_id)
    return False


def sync(
    known: Subscription, customer_id: str, now: datetime, *, mark: Write | None = None
) -> Synced | None:
    """Store a customer's current state; return this state, and the item before the sync.

    `mark` is the write that marks an event as handled in the same transaction. If the plan has
    changed, the plan in Redis is deleted. Raises PaymentProviderFailed.

    Returns None if the item was deleted or has another customer now. Also returns None if other
    syncs were faster: their state was fetched after this call began.
    """
    synced = store_newest(
        known,
        customer_id,
        fetch=payments.fetch_state,
        load=subscriptions.load,
        store=partial(subscriptions.store_state, mark=mark),
    )
    if synced and subscriptions.has_other_plan(synced.before, synced.state, now):
        from geminichat.upstash import prompt_limits  # few syncs change the plan

        prompt_limits.forget(known.user_id, now)
    return synced


def store_newest(
    known: Subscription,
    customer_id: str,
    *,
    fetch: Callable[[str], SubscriptionState],
    load: Callable[[str], Subscription],
    store: Callable[[Subscription, str, SubscriptionState], bool],
) -> Synced | None:
    """Fetch the state, and store it if the item still has its revision from before the fetch.

    Thus each state is fetched after its predecessor was stored: an older state never replaces a
    newer one, whichever answer arrives first, and no clock is required.

    If a concurrent sync stores its state first, this call reads the item again and repeats, three
    times at most. After that, the stored state was fetched after this call began, which is recent
    enough.
    """
    for _ in range(3):
        state = fetch(customer_id)
        if store(known, customer_id, state):
            return Synced(known, state)
        before, known = known, load(known.user_id)
        if known.stripe_customer_id not in (before.stripe_customer_id, customer_id):
            return None
    return None
