"""The deletion of an account: for each resource, whether the user's data is deleted or kept.

A test compares FATES with the template, so that no new resource is forgotten.
"""

from collections.abc import Mapping

DELETED = "deleted"

FATES: Mapping[str, str] = {
    "UsersTable": DELETED,
    "IdentitiesTable": "deleted; a replaced identity expires after 7 days",
    "SessionsTable": DELETED,
    "SubscriptionsTable": "deleted, with the customer at Stripe",
    "ChatroomsTable": DELETED,
    "MessagesTable": "deleted by the sweep, room by room",
    "IdempotencyKeysTable": DELETED,
    "UsageTable": DELETED,
    "LiveTable": DELETED,
    "ExportsTable": DELETED,
    "ExportsBucket": "deleted; parts of an unfinished archive expire within two days",
    "PurgesTable": "deleted last",
    "AuditTable": "kept as evidence of operators' acts; holds the user's id, no identity",
    "PiecesTable": "expires after an hour",
    "CodesTable": "expires after an hour",
    "LimitsTable": "expires after two days; holds digests, no identity",
    "StripeEventsTable": "expires; holds ids of events only",
    "PromptsQueue": "a queue message names a room, and expires after 14 days",
    "ProPromptsQueue": "a queue message names a room, and expires after 14 days",
    "TitlesQueue": "a queue message names a room and its user, and expires after 4 days",
    "TitleDeadLettersQueue": "a queue message names a room and its user, and expires after 14 days",
    "ExportsQueue": "a queue message names its user, and expires after 4 days",
    "ExportDeadLettersQueue": "a queue message names its user, and expires after 14 days",
    "DeadLettersQueue": "a queue message names a room, and expires after 14 days",
    "LogGroup": "expires after LogRetention days; holds ids, no content and no identity",
}
"""By logical id of a resource: whether the user's data is deleted, or how long it is kept."""

KEPT = (
    "Invoices and payments at Stripe, as the law requires.",
    "Log lines without content and without your email or number, until they expire.",
    "Parts of replies for an hour; codes, counters and queued work for 14 days at most.",
    "Our support's actions on your account and the reasons, stored under the account's id.",
    "An email or mobile number that you have replaced, for 7 days.",
)
"""The kept data, as the answer to a request for deletion lists it."""
