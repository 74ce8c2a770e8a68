"""DELETE /user: delete the account after a grace period; requires a fresh proof."""

from geminichat.api import NO_STORE, Request, Response, accepted, endpoint
from geminichat.clients import payments
from geminichat.domain import accounts as texts
from geminichat.domain import deletion, times
from geminichat.domain.accounts import Departure, ScheduledPurge
from geminichat.errors import (
    InvalidCode,
    InvalidCredentials,
    PaymentInProgress,
    PaymentProviderFailed,
    TooManyRequests,
)
from geminichat.operations import delete_account, login, notices
from geminichat.tables import usage, users

KEEPABLE = "The account will be deleted. To keep it, log in before `purgeAt`."


@endpoint(
    within=payments.WITHIN,
    errors=[
        InvalidCode,
        InvalidCredentials,
        PaymentInProgress,
        PaymentProviderFailed,
        TooManyRequests,
    ],
)
def handler(request: Request) -> Response[ScheduledPurge]:
    """Answer 202 with the time of the deletion; payments, sessions and connections end at once.

    A login before that time keeps the account.
    """
    fresh = request.body(Departure)
    [user] = users.read_current(request.caller, request.now)

    limits, used = login.confirm(user, fresh, request.caller, request.source, request.now)
    usage.count_stripe_request(request.user_id, request.now)
    purge_at = times.text(delete_account.request(user, request.caller, used, request.now))
    identities = users.identities_of(user)
    notices.send(
        user.user_id, identities, texts.departure_notice(purge_at, may_return=True), request.now
    )
    return accepted(
        ScheduledPurge(purge_at=purge_at, kept=deletion.KEPT),
        KEEPABLE if users.has_proven_identity(user) else "The account was deleted.",
        headers={**NO_STORE, **limits},
    )
