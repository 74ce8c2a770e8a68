"""POST /subscribe/pro: open a Stripe Checkout page on which the user pays for the pro plan."""

from datetime import datetime
from functools import partial

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import billing
from geminichat.domain.billing import CheckoutPage
from geminichat.errors import AlreadySubscribed, IdentityNotProven, TooManyRequests
from geminichat.operations import sync_subscription
from geminichat.tables import subscriptions, usage, users
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.users import User


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

    page = _open_page(user, known, return_urls, request.now)

    headers = {**NO_STORE, **limits}
    return ok(page, "Pay for the pro plan on this page.", headers=headers, url=page.url)


def _open_page(
    user: User, stored: Subscription | None, return_urls: tuple[str, str], now: datetime
) -> CheckoutPage:
    """Return the user's open page, or a new one. Raises AlreadySubscribed.

    `return_urls` are the URLs to which Stripe redirects after a payment and after a cancellation.
    """
    known, customer_id = _ensure_customer(stored or Subscription(user.user_id), user)
    # Find the page first: if it is paid after that, the sync finds its subscription.
    page = payments.find_checkout(customer_id, now)
    _require_no_subscription(known, customer_id, now)
    return page or _create_page(known, customer_id, return_urls, now)


def _ensure_customer(known: Subscription, user: User) -> tuple[Subscription, str]:
    """Return the user's item and a customer that exists at Stripe; create one if there is none."""
    email = user.email if user.email_verified else None
    customer_id = known.stripe_customer_id
    if customer_id and payments.update_customer(customer_id, email):
        return known, customer_id
    if customer_id:
        subscriptions.forget_customer(user.user_id, customer_id)
        known = subscriptions.load(user.user_id)
    return known, _create_customer(known, email, other_than=customer_id)


def _create_customer(known: Subscription, email: str | None, *, other_than: str | None) -> str:
    """Create the user's customer at Stripe, or find the one that an earlier request created."""
    user_id = known.user_id

    def create(attempt: int) -> str:
        found = payments.find_customer(user_id, attempt, other_than=other_than)
        return found or payments.create_customer(user_id, email, attempt)

    use_up_attempt = partial(subscriptions.use_up_customer_attempt, user_id)
    customer_id = billing.create_once(int(known.customer_attempt), create, use_up_attempt)
    return subscriptions.store_customer(user_id, customer_id)


def _require_no_subscription(known: Subscription, customer_id: str, now: datetime) -> None:
    """Sync the subscription, since events may be lost. Raises AlreadySubscribed."""
    synced = sync_subscription.sync(known, customer_id, now)
    status = synced.state.status if synced else subscriptions.load(known.user_id).status
    if status in billing.ONGOING:
        raise AlreadySubscribed(billing.explain_ongoing(status))


def _create_page(
    known: Subscription, customer_id: str, return_urls: tuple[str, str], now: datetime
) -> CheckoutPage:
    """Open a new page; concurrent requests open the same one."""
    success, cancel = return_urls
    first = int(known.checkout_attempt)

    def create(attempt: int) -> tuple[CheckoutPage, int]:
        # An earlier attempt may have opened a page although it ended in an error.
        found = payments.find_checkout(customer_id, now) if attempt > first else None
        page = found or payments.create_checkout(
            known.user_id, customer_id, attempt, success_url=success, cancel_url=cancel
        )
        return page, attempt

    use_up_attempt = partial(subscriptions.use_up_checkout_attempt, known.user_id)
    page, attempt = billing.create_once(first, create, use_up_attempt)
    use_up_attempt(attempt)
    return page
