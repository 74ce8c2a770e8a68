"""POST /subscribe/pro: a page of Stripe's on which the pro plan is paid."""

from functools import partial

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import billing
from geminichat.domain.billing import CheckoutPage
from geminichat.errors import AlreadySubscribed, PaymentProviderFailed, PaymentsOff
from geminichat.tables import subscriptions, users
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.users import User
from geminichat.upstash import prompt_limits


@endpoint(within=payments.WITHIN, errors=[AlreadySubscribed, PaymentProviderFailed, PaymentsOff])
def handler(request: Request) -> Response[CheckoutPage]:
    """Answer 200 with the page; while one is open that is handed out again."""
    user_id = request.user_id
    user, stored = users.current(
        user_id, request.session_id, request.now, subscriptions.key_of(user_id)
    )
    known = stored or Subscription(user_id)
    customer_id = known.stripe_customer_id or _customer(user, known)
    if known.stripe_customer_id and payments.is_deleted(customer_id):
        subscriptions.forget_customer(user_id, customer_id)
        known = subscriptions.find(user_id)
        customer_id = _customer(user, known)

    # In this order: a page that is paid meanwhile is no longer open, but its subscription is there.
    page = payments.find_checkout(customer_id, request.now)
    _require_no_subscription(request, known, customer_id)
    if page is None:
        page = _open(request, known, customer_id)
    return ok(page, "Pay on this page of Stripe's.", headers=NO_STORE, url=page.url)


def _customer(user: User, known: Subscription) -> str:
    """Return the user's customer at Stripe: found, or made, once."""
    user_id, email = user.user_id, user.email if user.email_verified else None

    def make(attempt: int) -> str:
        found = payments.find_customer(user_id, attempt)
        return found or payments.create_customer(user_id, email, attempt)

    spend = partial(subscriptions.spend_customer_attempt, user_id)
    customer_id = billing.with_fresh_key(int(known.customer_attempt), make, spend)
    return subscriptions.keep_customer(user_id, customer_id)


def _require_no_subscription(request: Request, known: Subscription, customer_id: str) -> None:
    """Refuse who would pay twice; what Stripe says is stored, should news of it have been lost."""
    followed = subscriptions.follow(request.now, known, customer_id, payments.standing_of)
    if followed and subscriptions.changes_plan(*followed, request.now):
        prompt_limits.forget(request.user_id, request.now)
    status = followed[1].status if followed else subscriptions.find(request.user_id).status
    if status in billing.LIVE:
        raise AlreadySubscribed(billing.already_subscribed(status))


def _open(request: Request, known: Subscription, customer_id: str) -> CheckoutPage:
    """Open a new page, the same one for requests side by side."""
    success, cancel = billing.return_urls(config.setting("FRONTEND_URL"), request.origin)
    first = int(known.checkout_attempt)

    def make(attempt: int) -> tuple[CheckoutPage, int]:
        # An attempt that ended in an error may have opened a page all the same.
        found = payments.find_checkout(customer_id, request.now) if attempt > first else None
        page = found or payments.create_checkout(
            request.user_id, customer_id, attempt, success_url=success, cancel_url=cancel
        )
        return page, attempt

    spend = partial(subscriptions.spend_checkout_attempt, request.user_id)
    page, attempt = billing.with_fresh_key(first, make, spend)
    spend(attempt)
    return page
