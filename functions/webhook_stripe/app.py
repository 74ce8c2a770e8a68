"""POST /webhook/stripe: fetch and store a customer's current state when Stripe reports a change."""

from collections.abc import Iterator
from contextlib import contextmanager

from geminichat import metrics
from geminichat.api import Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain import webhooks
from geminichat.errors import (
    Contended,
    InvalidRequest,
    InvalidSignature,
    PaymentInProgress,
    PaymentsOff,
    WrongMode,
)
from geminichat.operations import sync_subscription

WITHIN = 2.5
"""Seconds for all calls that handle an event: Stripe sends it again if the answer is late."""


@contextmanager
def _count_failures() -> Iterator[None]:
    try:
        yield
    except (InvalidRequest, PaymentsOff):
        metrics.emit(WebhooksRefused=1)
        raise
    except (Contended, PaymentInProgress):
        raise  # another request changes the same customer: Stripe sends the event again
    except Exception:
        metrics.emit(WebhooksFailed=1)
        raise


@endpoint(
    public=True,
    within=WITHIN,
    errors=[InvalidRequest, InvalidSignature, WrongMode, *payments.FAILURES],
)
@_count_failures()
def handler(request: Request) -> Response:
    """Answer 200 once the change is stored; Stripe sends the event again after any other answer."""
    event = webhooks.parse_event(
        request.raw,
        request.headers.get("stripe-signature", ""),
        payments.read_webhook_secrets(),
        live=payments.is_live_mode(),
        now=request.now,
    )
    customer_id = event.customer_id if event else None
    if event and customer_id and sync_subscription.handle_event(event, customer_id, request.now):
        lag = max(0.0, request.now.timestamp() - event.created)
        metrics.emit(WebhooksHandled=1, WebhookLagSeconds=lag)
    return ok(None, "Received.", received=True)
