"""POST /subscription/resume: let a subscription that would end go on."""

from functools import partial

from geminichat import counters, payments
from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import billing, times
from geminichat.domain.billing import SubscriptionStatus
from geminichat.tables import subscriptions, usage, users


@endpoint(within=payments.WITHIN)
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status; doing it again changes nothing."""
    _, known = users.current(
        request.user_id, request.session_id, request.now, subscriptions.of(request.user_id)
    )
    if known is None or known.stripe_customer_id is None:
        raise billing.no_subscription()

    payments.renew_with_period(known.stripe_customer_id)
    billing.follow(
        times.now(),
        known,
        find=partial(subscriptions.find, request.user_id),
        fetch=partial(payments.standing_of, known.stripe_customer_id),
        store=partial(subscriptions.store, request.user_id, known.stripe_customer_id),
    )
    counters.forget(request.user_id, request.now)

    status = usage.subscription_status(request.user_id, request.now)
    if status.status not in billing.LIVE:
        raise billing.no_subscription()
    return ok(status, "The subscription goes on.")
