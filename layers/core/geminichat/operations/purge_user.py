"""Delete an unproven user with everything: Stripe's customer, rooms, usage, keys, sessions."""

from datetime import datetime

from geminichat.clients import payments
from geminichat.operations import live_connections
from geminichat.tables import (
    chatrooms,
    idempotency_keys,
    identities,
    messages,
    purges,
    sessions,
    subscriptions,
    usage,
    users,
)
from geminichat.tables.purges import Purge
from geminichat.tables.table import ConditionsFailed, transact, transact_if


def continue_purge(purge: Purge, now: datetime) -> bool:
    """Delete what is left of a user, and return whether that was all. Each step may be repeated.

    The user's item goes first: from then on no request of the user is accepted. A user who has
    rooms is purged in two runs, since a worker may be answering a prompt in one of them.
    """
    if not _begin(purge):
        return False
    _delete_customer(purge.user_id)
    room_ids = chatrooms.ids_of(purge.user_id)
    for chatroom_id in room_ids:
        transact_if(
            chatrooms.delete_room(purge.user_id, chatroom_id),
            messages.put_tombstone(purge.user_id, chatroom_id, now),
        )
    if room_ids:
        purges.postpone(purge.user_id, now)
        return False
    usage.delete_all(purge.user_id)
    idempotency_keys.delete_all(purge.user_id)
    sessions.delete_all(purge.user_id)
    live_connections.close_all(purge.user_id)
    purges.finish(purge.user_id)
    return True


def _begin(purge: Purge) -> bool:
    """Delete the user and free its identity, unless the identity was proven in the meantime."""
    removal = [purges.start(purge), users.remove(purge.user_id)]
    identity = [identities.remove_unproven(purge.identity, purge.user_id)] if purge.identity else []
    try:
        transact(*removal, *identity)
    except ConditionsFailed as error:
        if error.of("purge"):
            return False
        transact(*removal)  # the identity belongs to another user by now
    return True


def _delete_customer(user_id: str) -> None:
    """Delete the user's customer at Stripe, which only users from earlier releases can have."""
    customer_id = subscriptions.load(user_id).stripe_customer_id
    if customer_id is not None:
        payments.delete_customer(customer_id)
    subscriptions.delete(user_id)
