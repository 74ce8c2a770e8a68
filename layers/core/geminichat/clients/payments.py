"""The one door to Stripe: short deadlines, idempotency keys on what is made, one kind of failure.

Stripe's SDK sends, tries again and reads errors; what is asked are plain paths of its API by
`raw_request`, since its classes of every resource cost a cold start 15 ms. Nothing here imports
stripe before Stripe is asked, so a request that is refused first costs none of it. Two deadlines
for an answer: a webhook is in a hurry, a person at the checkout waits longer.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from geminichat.config import number, secret, setting
from geminichat.domain import billing, times
from geminichat.domain.billing import (
    CheckoutPage,
    KeySpent,
    PortalPage,
    Standing,
    Standings,
    StripeSubscription,
)
from geminichat.errors import PaymentProviderFailed, PaymentsOff, Unavailable
from geminichat.runtime import log

if TYPE_CHECKING:
    import stripe

QUICK = 1.5
"""Seconds for one answer where a webhook waits for it."""
PATIENT = 4.0
"""Seconds for one answer where a person waits for it."""
WITHIN = 25.0
"""Seconds for all calls of a request in which a person waits: API Gateway gives up after thirty."""

UNSET_FOR = 60.0
"""Seconds for which a secret that is not there is not asked for again."""
RECENT = timedelta(minutes=10)
"""Search may not know yet what was made this recently; it is looked for in the list."""
LAST_MINUTE = timedelta(minutes=1)
"""A checkout session with less time left is not handed out again."""

SUBSCRIPTIONS, CUSTOMERS = "/v1/subscriptions", "/v1/customers"
SESSIONS = "/v1/checkout/sessions"
"""Paths of Stripe's API."""

_clients: dict[tuple[str, float, int], "stripe.StripeClient"] = {}
_unset_until: dict[str, float] = {}


def webhook_secrets() -> list[str]:
    """Return the secrets that may sign events: one, or two while one is rotated.

    Raises PaymentsOff where none is set: then the endpoint is off.
    """
    found = re.findall(r"whsec_[^\s,]+", _secret("STRIPE_WEBHOOK_SECRET_PARAMETER"))
    if not found:
        raise PaymentsOff()
    return found


def is_live() -> bool:
    """Say whether our key is for live mode. Raises PaymentsOff where none is set."""
    return _key().startswith(("sk_live_", "rk_live_"))


def subscriptions_of(customer_id: str) -> list[StripeSubscription]:
    """Return all subscriptions of a customer, ended ones too; none for a deleted customer.

    The webhook's one call of Stripe. Raises PaymentProviderFailed.
    """
    with _reported():
        found = _subscriptions(_client(QUICK), customer_id)
        return [billing.read_subscription(raw) for raw in found]


def _subscriptions(client: "stripe.StripeClient", customer_id: str) -> list[dict[str, Any]]:
    from geminichat.clients.stripe_sdk import stripe

    try:
        asked = {"customer": customer_id, "status": "all", "limit": 100}
        found: list[dict[str, Any]] = _get(client, SUBSCRIPTIONS, asked)["data"]
    except stripe.InvalidRequestError as error:
        if _is_of_deleted(error, client, customer_id):
            return []
        raise
    return found


def _is_of_deleted(
    error: "stripe.InvalidRequestError", client: "stripe.StripeClient", customer_id: str
) -> bool:
    """Say whether a call was refused because its customer was deleted, and is not just unknown."""
    return error.code == "resource_missing" and _is_deleted(client, customer_id)


def standing_of(customer_id: str) -> Standing:
    """Return what a customer's subscriptions come to. Raises PaymentProviderFailed."""
    grace = timedelta(days=number("GRACE_DAYS"))
    return billing.standing(subscriptions_of(customer_id), grace)


def standings() -> dict[str, Standings]:
    """Return, by customer, what all that have a subscription that was not cancelled come to.

    Not for the path of a request. Raises PaymentProviderFailed.
    """
    grace = timedelta(days=number("GRACE_DAYS"))
    found: dict[str, list[StripeSubscription]] = {}
    owners: dict[str, str | None] = {}
    with _reported():
        for raw in _all(_client(PATIENT, retries=2), SUBSCRIPTIONS, {}):
            found.setdefault(raw["customer"], []).append(billing.read_subscription(raw))
            if _is_ours(raw):
                owners[raw["customer"]] = raw["metadata"].get("user_id")
    return {
        customer: Standings(
            user_id=owners.get(customer),
            standing=billing.standing(subscriptions, grace),
            renewing=billing.renewing(subscriptions),
        )
        for customer, subscriptions in found.items()
    }


def owner_of(customer_id: str) -> str | None:
    """Return the user for whom this stage made a customer, or None."""
    with _reported():
        raw = _get(_client(QUICK), _path(CUSTOMERS, customer_id))
    return raw["metadata"].get("user_id") if _is_ours(raw) else None


def is_deleted(customer_id: str) -> bool:
    """Say whether a customer was deleted at Stripe."""
    with _reported():
        return _is_deleted(_client(PATIENT, retries=1), customer_id)


def _is_deleted(client: "stripe.StripeClient", customer_id: str) -> bool:
    return bool(_get(client, _path(CUSTOMERS, customer_id)).get("deleted"))


def find_customer(user_id: str, attempt: int) -> str | None:
    """Return the customer that was made for a user, or None.

    Search knows what is a minute old. Where an attempt ended in an error, Stripe may have made
    the customer all the same just now, so the newest customers are looked through too.
    """
    ours = _metadata(user_id)
    query = " AND ".join(f"metadata['{name}']:'{value}'" for name, value in ours.items())
    client = _client(PATIENT, retries=1)
    with _reported():
        for customer in _get(client, f"{CUSTOMERS}/search", {"query": query})["data"]:
            return str(customer["id"])
        if attempt:
            since = int((times.now() - RECENT).timestamp())
            for customer in _all(client, CUSTOMERS, {"created": {"gte": since}}):
                if (customer.get("metadata") or {}).items() >= ours.items():
                    return str(customer["id"])
    return None


def create_customer(user_id: str, email: str | None, attempt: int) -> str:
    """Make the user's customer, once an attempt. Raises KeySpent, PaymentProviderFailed."""
    asked: Any = {"metadata": _metadata(user_id)}
    if email:
        asked["email"] = email
    with _reported(keyed=True):
        key = _idempotency_key("customer", user_id, attempt)
        made = _post(_client(PATIENT, retries=1), CUSTOMERS, asked, key)
    return str(made.data["id"])


def find_checkout(customer_id: str, now: datetime) -> CheckoutPage | None:
    """Return an open checkout session for the pro plan of today, or None.

    Other pages of ours that could still be paid, at an older price or in their last minute, are
    closed, so that nobody pays both an old one and a new one.
    """
    client = _client(PATIENT, retries=1)
    page: CheckoutPage | None = None
    with _reported():
        asked = {"customer": customer_id, "status": "open", "limit": 100}
        for raw in _get(client, SESSIONS, asked)["data"]:
            ends = datetime.fromtimestamp(raw["expires_at"], UTC)
            current = (raw.get("metadata") or {}).get("price") == _price()
            if page is None and current and ends - now > LAST_MINUTE:
                page = _page(raw)
            elif _is_ours(raw):
                _close(client, raw["id"])
    return page


def _close(client: "stripe.StripeClient", session_id: str) -> None:
    from geminichat.clients.stripe_sdk import stripe

    with suppress(stripe.InvalidRequestError):  # it was paid or has expired meanwhile
        _post(client, _path(SESSIONS, session_id, "expire"), {})


def create_checkout(
    user_id: str, customer_id: str, attempt: int, *, success_url: str, cancel_url: str
) -> CheckoutPage:
    """Open a checkout session, one an attempt. Raises KeySpent, PaymentProviderFailed.

    A session that an earlier request made under the same key, and that is no longer open, has
    spent it too.
    """
    ours = _metadata(user_id)
    asked: Any = {
        "mode": "subscription",
        "customer": customer_id,
        "client_reference_id": user_id,
        "line_items": [{"price": _price(), "quantity": 1}],
        "metadata": {**ours, "price": _price()},
        "subscription_data": {"metadata": ours},
        "success_url": success_url,
        "cancel_url": cancel_url,
    }
    client = _client(PATIENT, retries=1)
    with _reported(keyed=True):
        key = _idempotency_key("checkout", user_id, attempt)
        answer = _post(client, SESSIONS, asked, key)
        made = answer.data
        if answer.headers.get("idempotent-replayed") == "true":
            made = _get(client, _path(SESSIONS, made["id"]))
    if made["status"] != "open":
        raise KeySpent("The checkout page that was opened before has been used or has expired.")
    return _page(made)


def create_portal(customer_id: str, return_url: str) -> PortalPage | None:
    """Open the billing portal; None for a deleted customer. Raises PaymentProviderFailed."""
    from geminichat.clients.stripe_sdk import stripe

    client = _client(PATIENT, retries=1)
    with _reported():
        try:
            asked = {"customer": customer_id, "return_url": return_url}
            made = _post(client, "/v1/billing_portal/sessions", asked).data
        except stripe.InvalidRequestError as error:
            if _is_of_deleted(error, client, customer_id):
                return None
            raise
    return PortalPage(url=made["url"])


def end_with_period(customer_id: str) -> None:
    """Let every subscription of a customer end with its period. Raises PaymentProviderFailed."""
    client = _client(PATIENT, retries=1)
    with _reported():
        for raw in _subscriptions(client, customer_id):
            if raw["status"] in billing.LIVE and not _ends(raw):
                _change(client, raw["id"], cancel_at_period_end=True)


def renew_with_period(customer_id: str) -> None:
    """Let the subscription that counts renew again if it would end; others go on ending.

    The portal sets `cancel_at` where the API sets `cancel_at_period_end` (flexible billing).
    Raises PaymentProviderFailed.
    """
    client = _client(PATIENT, retries=1)
    with _reported():
        found = _subscriptions(client, customer_id)
        best = billing.standing(map(billing.read_subscription, found), timedelta(0))
        for raw in found:
            if raw["id"] != best.subscription_id or raw["status"] not in billing.LIVE:
                continue
            if raw.get("cancel_at_period_end"):
                _change(client, raw["id"], cancel_at_period_end=False)
            elif raw.get("cancel_at"):
                _change(client, raw["id"], cancel_at="")


def _change(client: "stripe.StripeClient", subscription_id: str, **asked: Any) -> None:
    _post(client, _path(SUBSCRIPTIONS, subscription_id), asked)


def _ends(raw: dict[str, Any]) -> bool:
    return bool(raw.get("cancel_at_period_end") or raw.get("cancel_at"))


# ── Within ────────────────────────────────────────────────────────────────────────────────────────


def _page(raw: dict[str, Any]) -> CheckoutPage:
    return CheckoutPage(
        url=raw["url"],
        session_id=raw["id"],
        expires_at=times.text(datetime.fromtimestamp(raw["expires_at"], UTC)),
    )


def _metadata(user_id: str) -> dict[str, str]:
    """Return what says whose a customer or a subscription is; stages may share an account."""
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
    """Return a secret, "" where there is none; that is asked for once a minute at most.

    Raises Unavailable where SSM does not answer.
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


def forget_unset() -> None:
    """Ask anew for secrets that were not there."""
    _unset_until.clear()


def _get(client: "stripe.StripeClient", path: str, asked: Mapping[str, Any] | None = None) -> Any:
    return client.raw_request("get", path, **(asked or {})).data


def _post(
    client: "stripe.StripeClient", path: str, asked: Mapping[str, Any], key: str | None = None
) -> Any:
    """Return Stripe's answer: `data` and `headers`; `key` is the idempotency key."""
    keyed = {"idempotency_key": key} if key else {}
    return client.raw_request("post", path, **asked, **keyed)


def _all(
    client: "stripe.StripeClient", path: str, asked: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Return everything of a list, page by page."""
    after: dict[str, Any] = {}
    while True:
        page = _get(client, path, {**asked, "limit": 100, **after})
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"starting_after": page["data"][-1]["id"]}


def _path(*parts: str) -> str:
    """Return a path below a list of Stripe's, such as CUSTOMERS and an id."""
    first, *others = parts
    return "/".join([first, *(quote(part, safe="") for part in others)])


def _client(timeout: float, retries: int = 0) -> "stripe.StripeClient":
    """Return the client with this deadline for one answer; only what is idempotent has retries."""
    from geminichat.clients import stripe_sdk

    key = _key()
    known = _clients.get((key, timeout, retries))
    if known is None:
        endpoint = setting("STRIPE_ENDPOINT")
        known = stripe_sdk.client(key, endpoint=endpoint, read=timeout, retries=retries)
        _clients[key, timeout, retries] = known
    return known


@contextmanager
def _reported(*, keyed: bool = False) -> Iterator[None]:
    """Turn Stripe's errors into ours, and log what an operator needs: never a customer's data."""
    from geminichat.clients.stripe_sdk import stripe

    try:
        yield
    except stripe.StripeError as error:
        log.warning(
            "stripe failed",
            error=type(error).__name__,
            stripe_status=error.http_status,
            stripe_code=error.code,
            stripe_request=error.request_id,
        )
        said = "The payment provider did not answer as it should. Try again in a moment."
        spent = isinstance(error, stripe.IdempotencyError) or (error.http_status or 0) >= 500
        if keyed and spent:
            raise KeySpent(said) from error
        raise PaymentProviderFailed(said) from error
