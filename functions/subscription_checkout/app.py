"""POST /subscribe/pro: open a Stripe Checkout page on which the user pays for the pro plan."""

from functools import partial

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import billing
from geminichat.domain.billing import CheckoutPage
from geminichat.errors import (
    AlreadySubscribed,
    IdentityNotProven,
    PaymentInProgress,
    PaymentProviderFailed,
    PaymentsOff,
    TooManyRequests,
)
from geminichat.operations import sync_subscription
from geminichat.tables import subscriptions, usage, users
from geminichat.tables.subscriptions import Subscription


@endpoint(
    within=payments.WITHIN,
    errors=[
        AlreadySubscribed,
        IdentityNotProven,
        PaymentInProgress,
        PaymentProviderFailed,
        PaymentsOff,
        TooManyRequests,
    ],
)
def handler(request: Request) -> Response[CheckoutPage]:
    """Answer 200 with the page; an open one is returned again instead of a second one."""
    user_id = request.user_id
    user, stored = users.current(
        user_id, request.session_id, request.now, subscriptions.key_of(user_id)
    )
    if not (user.email_verified or user.mobile_verified):
        raise IdentityNotProven()
    limit = usage.count_stripe_request(user_id, request.now)
    known = stored or Subscription(user_id)
    email = user.email if user.email_verified else None
    customer_id = known.stripe_customer_id or _create_customer(known, email)
    if known.stripe_customer_id and not payments.update_customer(customer_id, email):
        subscriptions.forget_customer(user_id, customer_id)
        known = subscriptions.load(user_id)
        customer_id = _create_customer(known, email, other_than=customer_id)

    # In this order: a page that is paid meanwhile is no longer open, but its subscription exists.
    page = payments.find_checkout(customer_id, request.now)
    _require_no_subscription(request, known, customer_id)
    if page is None:
        page = _open_checkout(request, known, customer_id)
    headers = {**NO_STORE, **limit.headers()}
    return ok(page, "Pay for the pro plan on this page.", headers=headers, url=page.url)


def _create_customer(
    known: Subscription, email: str | None, *, other_than: str | None = None
) -> str:
    """Return the user's customer at Stripe, created unless an earlier request created it."""
    user_id = known.user_id

    def create(attempt: int) -> str:
        found = payments.find_customer(user_id, attempt, other_than=other_than)
        return found or payments.create_customer(user_id, email, attempt)

    spend_attempt = partial(subscriptions.spend_customer_attempt, user_id)
    customer_id = billing.create_once(int(known.customer_attempt), create, spend_attempt)
    return subscriptions.store_customer(user_id, customer_id)


def _require_no_subscription(request: Request, known: Subscription, customer_id: str) -> None:
    """Raise AlreadySubscribed if the user would pay twice; this also makes up for lost events."""
    synced = sync_subscription.sync(known, customer_id, request.now)
    status = synced.state.status if synced else subscriptions.load(request.user_id).status
    if status in billing.ONGOING:
        raise AlreadySubscribed(billing.explain_ongoing(status))


def _open_checkout(request: Request, known: Subscription, customer_id: str) -> CheckoutPage:
    """Open a new page; concurrent requests open the same one."""
    success, cancel = billing.build_return_urls(config.setting("FRONTEND_URL"), request.origin)
    first = int(known.checkout_attempt)

    def create(attempt: int) -> tuple[CheckoutPage, int]:
        # An attempt that ended in an error may have opened a page nevertheless.
        found = payments.find_checkout(customer_id, request.now) if attempt > first else None
        page = found or payments.create_checkout(
            request.user_id, customer_id, attempt, success_url=success, cancel_url=cancel
        )
        return page, attempt

    spend_attempt = partial(subscriptions.spend_checkout_attempt, request.user_id)
    page, attempt = billing.create_once(first, create, spend_attempt)
    spend_attempt(attempt)
    return page
