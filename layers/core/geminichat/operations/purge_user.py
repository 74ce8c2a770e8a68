"""Delete a user with all data: the customer at Stripe, exports, rooms, usage, keys, sessions."""

from datetime import datetime

from geminichat.clients import payments
from geminichat.errors import PaymentsOff
from geminichat.operations import delete_account, export_account, live_connections
from geminichat.tables import (
    chatrooms,
    idempotency_keys,
    identities,
    purges,
    sessions,
    subscriptions,
    usage,
    users,
)
from geminichat.tables.messages import tombstones
from geminichat.tables.purges import Purge
from geminichat.tables.table import ConditionsFailed, transact, transact_if


def continue_purge(purge: Purge, now: datetime) -> bool:
    """Delete a user's remaining data, and return whether all of it is deleted.

    Each step may be repeated. The user's item is deleted first: from then on no request of the user
    is accepted. A user who has rooms is purged in two runs, since a worker may be answering a
    prompt in a room.
    """
    if purge.kept_until is not None and purge.kept_until > now.timestamp():
        delete_account.end_billing(purge.user_id)
        purges.postpone_to_deadline(purge)
        return False
    if not _begin(purge):
        return False
    _delete_customers(purge)
    export_account.delete_all(purge.user_id)
    room_ids = chatrooms.ids_of(purge.user_id)
    for chatroom_id in room_ids:
        transact_if(
            chatrooms.delete_room(purge.user_id, chatroom_id),
            tombstones.put_tombstone(purge.user_id, chatroom_id, now),
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
    """Delete the user and free its identities; return False if the user is kept or has changed."""
    user = users.find(purge.user_id)
    removal = [purges.start(purge), users.remove(purge.user_id, user)]
    held = users.all_identities_of(user) if user else []
    freed = [identities.remove(one, purge.user_id) for one in held]
    try:
        transact(*removal, *freed)
    except ConditionsFailed as error:
        if error.of("purge") or error.of("removed user"):
            return False
        # An identity that expired or was replaced may belong to another user by now.
        transact(*removal, *(write for write in freed if not error.of(write.name)))
    return True


def _delete_customers(purge: Purge) -> None:
    """Delete the user's customers at Stripe; this ends every subscription.

    A crash may have left a customer that was never stored. Only a user with a proven identity can
    have a customer, and such a user is purged only on request.
    """
    stored: str | None = subscriptions.load(purge.user_id).stripe_customer_id
    if stored or purge.kept_until is not None:
        try:
            payments.delete_customers(purge.user_id, stored)
        except PaymentsOff:
            if stored:
                raise
    subscriptions.delete(purge.user_id)
