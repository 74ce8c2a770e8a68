"""POST /webhook/stripe: Stripe says that something changed, and what is true is fetched."""

from collections.abc import Iterator
from contextlib import contextmanager

from geminichat import metrics
from geminichat.api import Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import webhooks
from geminichat.domain.webhooks import StripeEvent
from geminichat.errors import (
    InvalidRequest,
    InvalidSignature,
    PaymentProviderFailed,
    PaymentsOff,
    WrongMode,
)
from geminichat.runtime import log
from geminichat.tables import stripe_events, subscriptions
from geminichat.tables.subscriptions import Subscription
from geminichat.upstash import prompt_limits

WITHIN = 2.5
"""Seconds for all calls together. Stripe wants a quick answer, and sends the event again."""


@endpoint(
    public=True,
    within=WITHIN,
    errors=[InvalidRequest, InvalidSignature, PaymentProviderFailed, PaymentsOff, WrongMode],
)
def handler(request: Request) -> Response:
    """Answer 200 once the event's news is stored; any other answer has Stripe send it again."""
    with _counted():
        event = webhooks.read(
            request.raw,
            request.headers.get("stripe-signature", ""),
            payments.webhook_secrets(),
            live=payments.is_live(),
            now=request.now,
        )
        if event and event.customer_id and not stripe_events.is_handled(event):
            _handle(request, event, event.customer_id)
    return ok(None, "Received.", received=True)


def _handle(request: Request, event: StripeEvent, customer_id: str) -> None:
    known = subscriptions.find_by_customer(customer_id) or _adopted(customer_id)
    if known is None:
        return
    followed = subscriptions.follow(
        request.now,
        known,
        customer_id,
        payments.standing_of,
        handled=stripe_events.handled(event),
    )
    if followed is None:
        stripe_events.mark_handled(event)
    elif subscriptions.changes_plan(*followed, request.now):
        prompt_limits.forget(known.user_id, request.now)
    metrics.emit(
        WebhooksHandled=1,
        WebhookLagSeconds=max(0.0, request.now.timestamp() - event.created),
    )


def _adopted(customer_id: str) -> Subscription | None:
    """Return the user of a customer that was made here and not written down; None for others'."""
    user_id = payments.owner_of(customer_id)
    if user_id is None:
        return None
    known = subscriptions.find(user_id)
    if known.stripe_customer_id not in (None, customer_id):
        log.error("user has a second customer", user_id=user_id)
        return None
    return known


@contextmanager
def _counted() -> Iterator[None]:
    try:
        yield
    except InvalidRequest:
        metrics.emit(WebhooksRefused=1)
        raise
    except Exception:
        metrics.emit(WebhooksFailed=1)
        raise
