"""POST /subscribe/pro: open a Stripe Checkout page on which the user pays for the pro plan."""

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import billing
from geminichat.domain.billing import CheckoutPage
from geminichat.errors import AlreadySubscribed, IdentityNotProven, TooManyRequests
from geminichat.operations import checkout
from geminichat.tables import subscriptions, usage, users


@endpoint(
    within=payments.WITHIN,
    errors=[AlreadySubscribed, IdentityNotProven, TooManyRequests, *payments.FAILURES],
)
def handler(request: Request) -> Response[CheckoutPage]:
    """Answer 200 with the page; a user who has an open page gets that page again."""
    key = subscriptions.key_of(request.user_id)
    user, known = users.read_current(request.caller, request.now, key)
    if not users.has_proven_identity(user):
        raise IdentityNotProven()
    limits = usage.count_stripe_request(request.user_id, request.now)
    return_urls = billing.build_return_urls(config.setting("FRONTEND_URL"), request.origin)

    page = checkout.open_page(user, known, return_urls, request.now)

    headers = {**NO_STORE, **limits}
    return ok(page, "Pay for the pro plan on this page.", headers=headers, url=page.url)
