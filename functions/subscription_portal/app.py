"""POST /subscription/portal: open Stripe's billing portal."""

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import billing
from geminichat.domain.billing import PortalPage
from geminichat.errors import NoCustomer, TooManyRequests
from geminichat.tables import subscriptions, usage, users


@endpoint(within=payments.WITHIN, errors=[NoCustomer, TooManyRequests, *payments.FAILURES])
def handler(request: Request) -> Response[PortalPage]:
    """Answer 200 with the URL of a portal session."""
    key = subscriptions.key_of(request.user_id)
    _, known = users.read_current(request.caller, request.now, key)
    customer_id = known.stripe_customer_id if known else None
    if customer_id is None:
        raise NoCustomer()
    limits = usage.count_stripe_request(request.user_id, request.now)
    return_url = billing.build_portal_return_url(config.setting("FRONTEND_URL"), request.origin)
    page = payments.create_portal(customer_id, return_url)
    if page is None:
        raise NoCustomer()
    headers = {**NO_STORE, **limits}
    return ok(page, "Manage your cards, invoices and subscription on this page.", headers=headers)
