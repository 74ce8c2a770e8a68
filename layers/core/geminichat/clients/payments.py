"""The client for Stripe, with short deadlines, idempotency keys and our own errors.

Stripe's SDK sends requests, retries and parses errors. The API's paths are requested with
`raw_request`, because the SDK's resource classes add 15 ms to a cold start. `stripe` is imported at
the first call to Stripe: requests that are refused earlier do not wait for the import.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from geminichat.config import number, secret, setting
from geminichat.domain import billing, times
from geminichat.domain.billing import (
    CheckoutPage,
    CustomerState,
    KeyUsedUp,
    PortalPage,
    StripeSubscription,
    SubscriptionState,
)
from geminichat.errors import (
    AppError,
    PaymentInProgress,
    PaymentProviderFailed,
    PaymentsOff,
    Unavailable,
)
from geminichat.runtime import clock, log

if TYPE_CHECKING:
    import stripe

QUICK = 1.5
"""Seconds for one response while a webhook waits for it."""
PATIENT = 4.0
"""Seconds for one response while a person waits for it."""
WITHIN = 25.0
"""Seconds for all calls of a request for which a person waits; API Gateway allows thirty."""

FAILURES: list[type[AppError]] = [PaymentInProgress, PaymentProviderFailed, PaymentsOff]
"""The errors with which a call to Stripe can fail."""

UNSET_FOR = 60.0
"""Seconds for which a missing secret is not read again."""
RECENT = timedelta(minutes=10)
"""The time for which Stripe's search may miss a new customer; the list of customers has it."""
LAST_MINUTE = timedelta(minutes=1)
"""A Checkout session that expires within this time is not returned to the user."""

SUBSCRIPTIONS, CUSTOMERS = "/v1/subscriptions", "/v1/customers"
SESSIONS = "/v1/checkout/sessions"
"""Paths of the Stripe API."""

WITH_INVOICE: Mapping[str, Any] = {"expand": ["data.latest_invoice"]}
"""The parameter that makes Stripe return subscriptions with their last invoice."""
MISSING = "resource_missing"
"""Stripe's error code for an object that does not exist."""
IN_PROGRESS = ("idempotency_key_in_use", "lock_timeout")
"""Stripe's error codes for a request while another request uses the same key or object."""

_unset_until: dict[str, float] = {}


def read_webhook_secrets() -> list[str]:
    """Return the secrets that may sign events: one, or two during a rotation.

    Raises PaymentsOff if no secret is set.
    """
    found = re.findall(r"whsec_[^\s,]+", _secret("STRIPE_WEBHOOK_SECRET_PARAMETER"))
    if not found:
        raise PaymentsOff()
    return found


def is_live_mode() -> bool:
    """Return whether our key is for live mode. Raises PaymentsOff if no key is set."""
    return _key().startswith(("sk_live_", "rk_live_"))


def fetch_state(customer_id: str) -> SubscriptionState:
    """Return the combined state of a customer's subscriptions. Raises PaymentProviderFailed.

    This is the webhook's only call to Stripe.
    """
    grace = timedelta(days=number("GRACE_DAYS"))
    with _connect(QUICK, retries=0) as client:
        found = _list_subscriptions(client, customer_id)
        return billing.combine(map(billing.parse_subscription, found), grace)


def _list_subscriptions(client: "stripe.StripeClient", customer_id: str) -> list[dict[str, Any]]:
    """Return all subscriptions of a customer, also ended ones; none for an unknown customer."""
    from geminichat.clients.stripe_sdk import stripe

    try:
        params = {"customer": customer_id, "status": "all", **WITH_INVOICE}
        return list(_get_all(client, SUBSCRIPTIONS, params))
    except stripe.InvalidRequestError as error:
        if _is_of_unknown_customer(error, client, customer_id):
            return []
        raise


def _is_of_unknown_customer(
    error: "stripe.InvalidRequestError", client: "stripe.StripeClient", customer_id: str
) -> bool:
    """Return whether Stripe rejected a call because its customer was deleted or never existed."""
    return error.code == MISSING and not _is_known(client, customer_id)


def fetch_all_states() -> dict[str, CustomerState]:
    """Return the states of all customers with a subscription that is not cancelled.

    The keys are customer ids. Takes too long for a request. Raises PaymentProviderFailed.
    """
    grace = timedelta(days=number("GRACE_DAYS"))
    found: dict[str, list[StripeSubscription]] = {}
    owners: dict[str, str | None] = {}
    with _connect(retries=2) as client:
        for raw in _get_all(client, SUBSCRIPTIONS, WITH_INVOICE):
            found.setdefault(raw["customer"], []).append(billing.parse_subscription(raw))
            if _is_ours(raw):
                owners[raw["customer"]] = raw["metadata"].get("user_id")
    return {
        customer: CustomerState(
            user_id=owners.get(customer),
            state=billing.combine(subscriptions, grace),
            renewing=billing.count_renewing(subscriptions),
        )
        for customer, subscriptions in found.items()
    }


def find_owner(customer_id: str) -> str | None:
    """Return the user for whom this stage created a customer, or None."""
    with _connect(QUICK, retries=0) as client:
        raw = _get(client, _path(CUSTOMERS, customer_id))
    return raw["metadata"].get("user_id") if _is_ours(raw) else None


def update_customer(customer_id: str, email: str | None) -> bool:
    """Store the user's email if the customer has none; return whether Stripe knows the customer."""
    with _connect() as client:
        customer = _find_by_id(client, customer_id)
        if customer and email and not customer.get("email"):
            _post(client, _path(CUSTOMERS, customer_id), {"email": email})
    return customer is not None


def _is_known(client: "stripe.StripeClient", customer_id: str) -> bool:
    """Return whether a customer exists at Stripe; a deleted one does not.

    A stored customer is unknown after a switch from test to live mode, or to another account.
    """
    return _find_by_id(client, customer_id) is not None


def _find_by_id(client: "stripe.StripeClient", customer_id: str) -> dict[str, Any] | None:
    """Return a customer, or None for one that was deleted or never existed."""
    from geminichat.clients.stripe_sdk import stripe

    try:
        customer: dict[str, Any] = _get(client, _path(CUSTOMERS, customer_id))
    except stripe.InvalidRequestError as error:
        if error.code == MISSING:
            return None
        raise
    return None if customer.get("deleted") else customer


def require_customer(customer_id: str) -> None:
    """Raise PaymentProviderFailed if a customer never existed in this Stripe account."""
    with _connect() as client:
        _get(client, _path(CUSTOMERS, customer_id))


def find_customer(user_id: str, attempt: int, *, other_than: str | None) -> str | None:
    """Return a customer that was created for a user, except `other_than`; None if there is none.

    Stripe's search is a minute behind. So from the second attempt on, the newest customers are
    listed, too: an attempt may have created the customer although it seemed to fail. In countries
    without search, only the newest customers are found.
    """
    with _connect() as client:
        found = _list_customers(client, user_id, recent=bool(attempt))
        return next((customer_id for customer_id in found if customer_id != other_than), None)


def _list_customers(client: "stripe.StripeClient", user_id: str, *, recent: bool) -> Iterator[str]:
    """Yield the ids of a user's customers; ids may occur twice, and customers may be deleted."""
    ours = _metadata(user_id)
    found = _search_customers(client, ours)
    listed: Iterator[dict[str, Any]] = iter(())
    if recent or found is None:
        since = int((clock.now() - RECENT).timestamp())
        listed = _get_all(client, CUSTOMERS, {"created": {"gte": since}})
    for customer in chain(found or (), listed):
        if (customer.get("metadata") or {}).items() >= ours.items():
            yield str(customer["id"])


def _search_customers(
    client: "stripe.StripeClient", metadata: Mapping[str, str]
) -> list[dict[str, Any]] | None:
    """Return the customers with this metadata; None if Stripe has no search in our country."""
    from geminichat.clients.stripe_sdk import stripe

    query = " AND ".join(f"metadata['{name}']:'{value}'" for name, value in metadata.items())
    try:
        found: list[dict[str, Any]] = _get(client, f"{CUSTOMERS}/search", {"query": query})["data"]
    except (stripe.InvalidRequestError, stripe.PermissionError):
        return None
    return found


def create_customer(user_id: str, email: str | None, attempt: int) -> str:
    """Create the user's customer, once per attempt. Raises KeyUsedUp, PaymentProviderFailed."""
    params: Any = {"metadata": _metadata(user_id)}
    if email:
        params["email"] = email
    with _connect(keyed=True) as client:
        created = _post(client, CUSTOMERS, params, _idempotency_key("customer", user_id, attempt))
    return str(created.data["id"])


def delete_customers(user_id: str, stored: str | None) -> None:
    """Delete the stored customer of a user, and customers created for the user but never stored.

    Their subscriptions end, and their open Checkout sessions expire.
    """
    with _connect() as client:
        known = [stored] if stored else []
        for customer_id in sorted({*known, *_list_customers(client, user_id, recent=True)}):
            if _is_known(client, customer_id):
                _expire_checkouts(client, customer_id)
                client.raw_request("delete", _path(CUSTOMERS, customer_id))


def find_checkout(customer_id: str, now: datetime) -> CheckoutPage | None:
    """Return an open Checkout session at the current price, or None.

    Also expires all other open sessions of this stage, so that no user pays twice.
    """
    page: CheckoutPage | None = None
    with _connect() as client:
        for raw in _list_open_checkouts(client, customer_id):
            ends = datetime.fromtimestamp(raw["expires_at"], UTC)
            current = (raw.get("metadata") or {}).get("price") == _price()
            if page is None and current and ends - now > LAST_MINUTE:
                page = _page(raw)
            elif _is_ours(raw):
                _expire(client, raw["id"])
    return page


def _list_open_checkouts(client: "stripe.StripeClient", customer_id: str) -> Any:
    params = {"customer": customer_id, "status": "open", "limit": 100}
    return _get(client, SESSIONS, params)["data"]


def _expire_checkouts(client: "stripe.StripeClient", customer_id: str) -> None:
    for raw in _list_open_checkouts(client, customer_id):
        _expire(client, raw["id"])


def _expire(client: "stripe.StripeClient", session_id: str) -> None:
    from geminichat.clients.stripe_sdk import stripe

    with suppress(stripe.InvalidRequestError):  # the session was paid or has expired
        _post(client, _path(SESSIONS, session_id, "expire"), {})


def create_checkout(
    user_id: str, customer_id: str, attempt: int, *, success_url: str, cancel_url: str
) -> CheckoutPage:
    """Create a Checkout session, once per attempt. Raises KeyUsedUp, PaymentProviderFailed.

    KeyUsedUp is also raised if an earlier request of the attempt created a session that is no
    longer open.
    """
    ours = _metadata(user_id)
    params: Any = {
        "mode": "subscription",
        "customer": customer_id,
        "client_reference_id": user_id,
        "line_items": [{"price": _price(), "quantity": 1}],
        "metadata": {**ours, "price": _price()},
        "subscription_data": {"metadata": ours},
        "success_url": success_url,
        "cancel_url": cancel_url,
    }
    with _connect(keyed=True) as client:
        key = _idempotency_key("checkout", user_id, attempt)
        answer = _post(client, SESSIONS, params, key)
        session = answer.data
        if answer.headers.get("idempotent-replayed") == "true":
            session = _get(client, _path(SESSIONS, session["id"]))
    if session["status"] != "open":
        raise KeyUsedUp("The Checkout page that was opened before has been used or has expired.")
    return _page(session)


def create_portal(customer_id: str, return_url: str) -> PortalPage | None:
    """Create a portal session; None for an unknown customer. Raises PaymentProviderFailed."""
    from geminichat.clients.stripe_sdk import stripe

    with _connect() as client:
        try:
            params = {"customer": customer_id, "return_url": return_url}
            portal = _post(client, "/v1/billing_portal/sessions", params).data
        except stripe.InvalidRequestError as error:
            if _is_of_unknown_customer(error, client, customer_id):
                return None
            raise
    return PortalPage(url=portal["url"])


def cancel_renewal(customer_id: str) -> None:
    """Cancel all subscriptions of a customer at the end of their periods.

    Raises PaymentProviderFailed.
    """
    with _connect() as client:
        for raw in _list_subscriptions(client, customer_id):
            if raw["status"] in billing.ONGOING and not _is_ending(raw):
                _update(client, raw["id"], cancel_at_period_end=True)


def end_billing(customer_id: str) -> None:
    """Cancel everything that Stripe could still bill to a customer. Raises PaymentProviderFailed.

    Paid subscriptions end with their periods. Unpaid ones end now, so that Stripe does not retry
    their payments. Open Checkout sessions expire.
    """
    with _connect() as client:
        if not _is_known(client, customer_id):
            return
        for raw in _list_subscriptions(client, customer_id):
            if raw["status"] in billing.PAID and not _is_ending(raw):
                _update(client, raw["id"], cancel_at_period_end=True)
            elif raw["status"] in billing.ONGOING and raw["status"] not in billing.PAID:
                client.raw_request("delete", _path(SUBSCRIPTIONS, raw["id"]))
        _expire_checkouts(client, customer_id)


def resume_renewal(customer_id: str) -> None:
    """Undo the cancellation of a customer's main subscription, and of no other one.

    With flexible billing, the portal sets `cancel_at` where the API sets `cancel_at_period_end`.
    Raises PaymentProviderFailed.
    """
    with _connect() as client:
        found = _list_subscriptions(client, customer_id)
        best = billing.combine(map(billing.parse_subscription, found), timedelta(0))
        for raw in found:
            if raw["id"] != best.subscription_id or raw["status"] not in billing.ONGOING:
                continue
            if raw.get("cancel_at_period_end"):
                _update(client, raw["id"], cancel_at_period_end=False)
            elif raw.get("cancel_at"):
                _update(client, raw["id"], cancel_at="")


def _update(client: "stripe.StripeClient", subscription_id: str, **params: Any) -> None:
    _post(client, _path(SUBSCRIPTIONS, subscription_id), params)


def _is_ending(raw: dict[str, Any]) -> bool:
    return bool(raw.get("cancel_at_period_end") or raw.get("cancel_at"))


# ── Helpers ───────────────────────────────────────────────────────────────────────────────────────


def _page(raw: dict[str, Any]) -> CheckoutPage:
    return CheckoutPage(
        url=raw["url"],
        session_id=raw["id"],
        expires_at=times.of_epoch(raw["expires_at"]),
    )


def _metadata(user_id: str) -> dict[str, str]:
    """Return the metadata that marks objects of this stage; stages may share a Stripe account."""
    return {"user_id": user_id, "stage": setting("STAGE")}


def _is_ours(raw: dict[str, Any]) -> bool:
    return (raw.get("metadata") or {}).get("stage") == setting("STAGE")


def _idempotency_key(purpose: str, user_id: str, attempt: int) -> str:
    return f"{setting('STAGE')}-{purpose}-{user_id}-{attempt}"


def _price() -> str:
    price = setting("STRIPE_PRICE")
    if not price:
        raise PaymentsOff()
    return price


def _key() -> str:
    key = _secret("STRIPE_KEY_PARAMETER").strip()
    if not key.startswith(("sk_", "rk_")):
        raise PaymentsOff()
    return key


def _secret(setting_name: str) -> str:
    """Return a secret, or "" if it is missing; a missing secret is read once per minute.

    Raises Unavailable if SSM does not respond.
    """
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004

    if time.monotonic() < _unset_until.get(setting_name, 0.0):
        return ""
    try:
        return secret(setting_name)
    except (ConnectionError, HTTPClientError) as error:
        raise Unavailable() from error
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        _unset_until[setting_name] = time.monotonic() + UNSET_FOR
        return ""


def forget_missing_secrets() -> None:
    """Read missing secrets again when they are used next."""
    _unset_until.clear()


def _get(client: "stripe.StripeClient", path: str, params: Mapping[str, Any] | None = None) -> Any:
    return client.raw_request("get", path, **(params or {})).data


def _post(
    client: "stripe.StripeClient", path: str, params: Mapping[str, Any], key: str | None = None
) -> Any:
    """Send a POST with this idempotency key, and return the response (`data` and `headers`)."""
    keyed = {"idempotency_key": key} if key else {}
    return client.raw_request("post", path, **params, **keyed)


def _get_all(
    client: "stripe.StripeClient", path: str, params: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield all objects of a list, page by page."""
    after: dict[str, Any] = {}
    while True:
        page = _get(client, path, {**params, "limit": 100, **after})
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"starting_after": page["data"][-1]["id"]}


def _path(*parts: str) -> str:
    """Return the path of an object: its first part, such as CUSTOMERS, then escaped parts."""
    first, *others = parts
    return "/".join([first, *(quote(part, safe="") for part in others)])


@contextmanager
def _connect(
    timeout: float = PATIENT, *, retries: int = 1, keyed: bool = False
) -> Iterator["stripe.StripeClient"]:
    """Yield a client with this deadline per response; only idempotent calls may have retries.

    An error that Stripe returns is logged without customer data, and raised as one of our errors.
    KeyUsedUp is raised only for a call with an idempotency key (`keyed`).
    """
    key = _key()
    from geminichat.clients.stripe_sdk import create_client, stripe

    endpoint = setting("STRIPE_ENDPOINT")
    client = create_client(key, endpoint=endpoint, read=timeout, retries=retries)
    try:
        yield client
    except stripe.StripeError as error:
        code = error.error.code if error.error else None  # `error.code` is not on every SDK error
        log.warning(
            "stripe failed",
            error=type(error).__name__,
            stripe_status=error.http_status,
            stripe_code=code,
            stripe_request=error.request_id,
        )
        if code in IN_PROGRESS:
            raise PaymentInProgress() from error
        spent = isinstance(error, stripe.IdempotencyError) or (error.http_status or 0) >= 500
        if keyed and spent:
            raise KeyUsedUp() from error
        raise PaymentProviderFailed() from error
