"""The stand-in for Stripe, called over HTTP with Stripe's SDK."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from aiohttp import web

from geminichat.domain.webhooks import CHANGES_PLAN
from infra.local.standins.stripe import EVENTS, PRO_PRICE, Endpoint, create_app
from infra.local.standins.stripe.events import OLD_API_VERSION
from infra.local.standins.stripe.ledger import months_later
from infra.local.standins.stripe.protocol import parse_form
from tests.support.parallel import wait_until
from tests.support.standins import Stripe, run_app

KEY = "sk_test_local"
SECRET = "whsec_local"
DAY = 86_400


@pytest.fixture
def standin() -> Iterator[Stripe]:
    with run_app(lambda: create_app(KEY)) as url:
        yield Stripe(url, KEY)


def sdk(
    standin: Stripe, key: str = KEY, timeout: float = 2, retries: int = 0
) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": standin.url},
        max_network_retries=retries,
        http_client=stripe.RequestsClient(timeout=timeout),
    )


@pytest.fixture
def client(standin: Stripe) -> stripe.StripeClient:
    return sdk(standin)


def new_customer(client: stripe.StripeClient) -> stripe.Customer:
    return client.v1.customers.create({"email": "ann@example.com", "metadata": {"user_id": "u_1"}})


def new_session(client: stripe.StripeClient, customer: str, **more: Any) -> stripe.checkout.Session:
    asked: Any = {
        "mode": "subscription",
        "customer": customer,
        "client_reference_id": "u_1",
        "line_items": [{"price": PRO_PRICE, "quantity": 1}],
        "subscription_data": {"metadata": {"user_id": "u_1"}},
        "success_url": "https://front.test/success?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://front.test/cancel",
        **more,
    }
    return client.v1.checkout.sessions.create(asked)


def last_event(standin: Stripe, kind: str) -> Any:
    """Return the object of the newest event of a type."""
    found = [sent["event"] for sent in standin.events() if sent["event"]["type"] == kind]
    return found[-1]["data"]["object"]


def subscribe(client: stripe.StripeClient, standin: Stripe, action: str = "pay") -> Any:
    session = new_session(client, new_customer(client).id)
    standin.act(session.id, action)
    paid = client.v1.checkout.sessions.retrieve(session.id)
    return client.v1.subscriptions.retrieve(str(paid.subscription))


# The protocol


def test_form_parameters_are_nested_by_their_brackets() -> None:
    assert parse_form("a[b][0][c]=1&a[b][1][c]=2&d[]=x&d[]=y&e=") == {
        "a": {"b": [{"c": "1"}, {"c": "2"}]},
        "d": ["x", "y"],
        "e": "",
    }


def test_a_wrong_api_key_is_an_authentication_error(standin: Stripe) -> None:
    with pytest.raises(stripe.AuthenticationError):
        new_customer(sdk(standin, "sk_test_other"))


def test_unknown_and_missing_parameters_are_rejected(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.v1.customers.create({"colour": "blue"})  # type: ignore[arg-type]
    assert unknown.value.code == "parameter_unknown"
    assert unknown.value.param == "colour"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.checkout.sessions.create({"mode": "subscription"})
    assert missing.value.code == "parameter_missing"


def test_an_unknown_object_is_answered_with_resource_missing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as lost:
        client.v1.subscriptions.retrieve("sub_none")
    assert (lost.value.http_status, lost.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError) as parameter:
        new_session(client, "cus_none")
    assert (parameter.value.http_status, parameter.value.param) == (400, "customer")


def test_repeated_requests_with_one_idempotency_key_create_one_customer(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    made = [client.v1.customers.create({"name": "Ann"}, {"idempotency_key": "k"}) for _ in range(2)]
    assert made[0].id == made[1].id
    assert made[1].last_response is not None
    assert made[1].last_response.headers["idempotent-replayed"] == "true"
    assert len(client.v1.customers.list().data) == 1

    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Bob"}, {"idempotency_key": "k"})
    standin.advance(DAY)
    assert client.v1.customers.create({"name": "Bob"}, {"idempotency_key": "k"}).name == "Bob"


def test_a_500_is_repeated_for_the_same_idempotency_key_and_a_rejection_is_not(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    standin.fault("error", status=500, match="POST /v1/customers")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.create({"name": "Ann"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.InvalidRequestError):
        new_session(client, "cus_none")
    assert client.v1.customers.list().data == []


def test_an_idempotency_key_in_use_is_a_conflict_until_the_first_request_ends(
    standin: Stripe,
) -> None:
    standin.fault("hold", name="first", match="POST /v1/customers")
    made: list[str] = []

    def create(retries: int) -> None:
        client = sdk(standin, timeout=10, retries=retries)
        made.append(client.v1.customers.create({}, {"idempotency_key": "k"}).id)

    first = threading.Thread(target=create, args=(0,))
    first.start()
    wait_until(lambda: standin.holds() == ["first"])
    with pytest.raises(stripe.APIError) as conflict:
        create(0)
    assert conflict.value.http_status == 409

    second = threading.Thread(target=create, args=(3,))
    second.start()
    wait_until(lambda: len(standin.calls("POST", "/v1/customers")) >= 3)
    standin.release("first")
    first.join()
    second.join()
    assert len(made) == 2
    assert made[0] == made[1]


@pytest.mark.parametrize("kind", ["drop", "stall", "error", "garbage"])
def test_an_answer_can_be_lost_after_the_call_was_executed(standin: Stripe, kind: str) -> None:
    standin.fault(kind, done=True)
    with pytest.raises(stripe.StripeError):
        sdk(standin, timeout=0.3).v1.customers.create({})
    assert len(standin.get("/v1/customers")["data"]) == 1


@pytest.mark.parametrize("kind", ["drop", "error"])
def test_a_call_can_fail_before_it_is_executed(standin: Stripe, kind: str) -> None:
    standin.fault(kind)
    with pytest.raises(stripe.StripeError):
        sdk(standin).v1.customers.create({})
    assert standin.get("/v1/customers")["data"] == []


def test_a_held_answer_shows_the_state_at_the_time_of_the_call(standin: Stripe) -> None:
    client = sdk(standin, timeout=10)
    subscription = subscribe(client, standin)
    standin.fault("hold", name="old", match="GET /v1/subscriptions")
    seen: list[str] = []
    thread = threading.Thread(
        target=lambda: seen.append(client.v1.subscriptions.retrieve(subscription.id).status)
    )
    thread.start()
    wait_until(lambda: standin.holds() == ["old"])
    standin.move(subscription.id, "cancel")
    standin.release("old")
    thread.join()
    assert seen == ["active"]
    assert client.v1.subscriptions.retrieve(subscription.id).status == "canceled"


def test_lists_have_pages_with_the_newest_object_first(client: stripe.StripeClient) -> None:
    made = [client.v1.customers.create({"name": str(number)}).id for number in range(5)]
    page = client.v1.customers.list({"limit": 2})
    assert [customer.id for customer in page.data] == made[:2:-1]
    assert page.has_more
    assert [customer.id for customer in page.auto_paging_iter()] == made[::-1]


def test_the_search_by_metadata_finds_a_new_customer_after_a_minute(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    customer = new_customer(client)
    query = "metadata['user_id']:'u_1'"
    assert client.v1.customers.search({"query": query}).data == []
    standin.advance(60)
    found = client.v1.customers.search({"query": query}).data
    assert [one.id for one in found] == [customer.id]
    assert client.v1.customers.search({"query": "metadata['user_id']:'u_2'"}).data == []


# Checkout


def test_paying_creates_an_active_subscription(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    customer = new_customer(client)
    session = new_session(client, customer.id)
    assert session.status == "open"
    assert session.expires_at - session.created == DAY
    answer = httpx.post(str(session.url), data={"do": "pay"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"https://front.test/success?session_id={session.id}"

    done = client.v1.checkout.sessions.retrieve(session.id)
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    subscription = client.v1.subscriptions.retrieve(str(done.subscription))
    assert subscription.status == "active"
    assert subscription.metadata["user_id"] == "u_1"
    item = subscription["items"].data[0]
    assert 28 * DAY <= item.current_period_end - item.current_period_start <= 31 * DAY
    invoice = last_event(standin, "invoice.paid")
    assert invoice["status"] == "paid"
    assert invoice["parent"]["subscription_details"]["subscription"] == subscription.id
    assert [event["event"]["type"] for event in standin.events()] == [
        "customer.created",
        "payment_method.attached",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "checkout.session.completed",
    ]
    assert "already paid" in httpx.get(f"{standin.url}/c/pay/{session.id}").text


def test_a_second_click_on_pay_redirects_like_the_first_click(client: stripe.StripeClient) -> None:
    session = new_session(client, new_customer(client).id)
    answers = [httpx.post(str(session.url), data={"do": "pay"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert len(client.v1.subscriptions.list().data) == 1


def test_the_form_keeps_the_typed_email_after_a_declined_card(
    client: stripe.StripeClient,
) -> None:
    session = new_session(client, client.v1.customers.create({}).id)
    form = {"do": "decline", "email": 'a"b@example.com'}
    page = httpx.post(str(session.url), data=form, follow_redirects=True).text
    assert 'value="a&quot;b@example.com"' in page


def test_an_unknown_url_is_a_404_page(standin: Stripe) -> None:
    for path in ("/c/pay/cs_none", "/p/session/bps_none", "/c/pay/<script>"):
        answer = httpx.get(f"{standin.url}{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (
            404,
            "text/html; charset=utf-8",
        )
        assert "Page not found" in answer.text
        assert "/<script>" not in answer.text


def test_an_open_session_expires_after_a_day(client: stripe.StripeClient, standin: Stripe) -> None:
    customer = new_customer(client).id
    session = new_session(client, customer)
    other = new_session(client, customer)
    client.v1.checkout.sessions.expire(other.id)
    standin.advance(DAY)
    listed = client.v1.checkout.sessions.list({"customer": customer, "status": "expired"})
    assert {one.id for one in listed.data} == {session.id, other.id}
    assert client.v1.checkout.sessions.list({"customer": customer, "status": "open"}).data == []


# Subscriptions and time


def test_a_period_ends_on_the_last_day_of_a_month_that_is_too_short() -> None:
    january_31 = 1_769_860_800
    assert months_later(january_31, 1) - january_31 == 28 * DAY
    assert months_later(january_31, 12) - january_31 == 365 * DAY


def test_a_cancellation_in_the_portal_sets_only_cancel_at(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    subscription = subscribe(client, standin)
    portal = client.v1.billing_portal.sessions.create(
        {"customer": str(subscription.customer), "return_url": "https://front.test/back"}
    )
    page = httpx.get(portal.url).text
    assert "Cancel plan" in page
    assert "https://front.test/back" in page
    httpx.post(portal.url, data={"do": "cancel", "subscription": subscription.id})
    ends = client.v1.subscriptions.retrieve(subscription.id)
    assert not ends.cancel_at_period_end
    assert ends.cancel_at == ends["items"].data[0].current_period_end
    kept = client.v1.subscriptions.update(subscription.id, {"cancel_at": ""})
    assert kept.cancel_at is None


def test_the_portal_pays_open_invoices_with_the_current_card(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    subscription = subscribe(client, standin)
    portal = client.v1.billing_portal.sessions.create({"customer": str(subscription.customer)})

    def do(what: str) -> str:
        form = {"do": what, "subscription": subscription.id}
        return httpx.post(portal.url, data=form, follow_redirects=True).text

    do("bad-card")
    assert "past due" in do("end-period")
    refused = do("pay")
    assert 'role="alert"' in refused
    assert "Your card was declined." in refused
    do("good-card")
    assert "past due" not in do("pay")
    assert last_event(standin, "invoice.paid")["billing_reason"] == "subscription_cycle"


def test_the_portal_shows_only_subscriptions_of_its_customer(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    other = subscribe(client, standin)
    portal = client.v1.billing_portal.sessions.create({"customer": new_customer(client).id})
    assert other.id not in httpx.get(portal.url).text
    answer = httpx.post(portal.url, data={"do": "cancel", "subscription": other.id})
    assert answer.status_code == 404


@pytest.mark.parametrize("end", ["canceled", "unpaid", "past_due"])
def test_a_failed_renewal_is_retried_until_stripe_gives_up(
    client: stripe.StripeClient, standin: Stripe, end: str
) -> None:
    standin.ask("PATCH", "/_ledger", {"givesUp": end})
    subscription = subscribe(client, standin, "pay-once")
    assert subscription.status == "active"
    standin.advance(32 * DAY)
    assert client.v1.subscriptions.retrieve(subscription.id).status == "past_due"
    standin.advance(16 * DAY)
    assert client.v1.subscriptions.retrieve(subscription.id).status == end


def test_while_collection_is_paused_a_subscription_renews_with_void_invoices(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    subscription = subscribe(client, standin)
    standin.move(subscription.id, "pause-collection")
    standin.advance(32 * DAY)

    def last_invoice_status() -> str:
        listed: Any = standin.get("/v1/subscriptions", **{"expand[]": "data.latest_invoice"})
        return str(listed["data"][0]["latest_invoice"]["status"])

    paused = client.v1.subscriptions.retrieve(subscription.id)
    assert (paused.status, last_invoice_status()) == ("active", "void")
    assert paused["pause_collection"]["behavior"] == "void"
    standin.move(subscription.id, "resume-collection")
    standin.advance(32 * DAY)
    assert last_invoice_status() == "paid"


# Events


class Inbox:
    """An endpoint that stores received events, and answers as configured."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.answers: list[int] = []

    def create_app(self) -> web.Application:
        async def receive(request: web.Request) -> web.Response:
            self.got.append((await request.text(), request.headers["stripe-signature"]))
            await asyncio.sleep(0)
            return web.Response(status=self.answers.pop(0) if self.answers else 200)

        app = web.Application()
        app.router.add_post("/hook", receive)
        return app


@pytest.fixture
def inbox(standin: Stripe) -> Iterator[Inbox]:
    inbox = Inbox()
    with run_app(inbox.create_app) as url:
        standin.endpoint(url=f"{url}/hook", secrets=[SECRET])
        yield inbox
        standin.endpoint(url="")


def test_events_carry_a_signature_that_the_sdk_accepts(
    client: stripe.StripeClient, inbox: Inbox
) -> None:
    new_customer(client)
    wait_until(lambda: len(inbox.got) == 1)
    event = stripe.Webhook.construct_event(*inbox.got[0], SECRET)
    assert event.type == "customer.created"
    assert event.data.object["metadata"]["user_id"] == "u_1"
    assert event.livemode is False


def test_an_event_that_is_not_accepted_is_retried(
    client: stripe.StripeClient, standin: Stripe, inbox: Inbox
) -> None:
    inbox.answers = [500]
    new_customer(client)
    wait_until(lambda: len(inbox.got) == 2)
    wait_until(lambda: standin.events()[0]["answers"] == [500, 200])


def test_events_can_be_held_back(
    client: stripe.StripeClient, standin: Stripe, inbox: Inbox
) -> None:
    standin.endpoint(held=True)
    new_customer(client)
    [sent] = standin.events()
    assert (sent["answers"], inbox.got) == ([], [])
    body, header = standin.sign(sent["event"]["id"])
    assert stripe.Webhook.construct_event(body, header, SECRET).id == sent["event"]["id"]


def test_an_endpoint_of_an_older_api_version_receives_objects_in_the_older_format(
    client: stripe.StripeClient, standin: Stripe
) -> None:
    standin.endpoint(apiVersion=OLD_API_VERSION)
    subscribe(client, standin)
    shown = {sent["event"]["type"]: sent["event"]["data"]["object"] for sent in standin.events()}
    subscription = shown["customer.subscription.created"]
    assert subscription["current_period_end"] > subscription["current_period_start"]
    assert "current_period_end" not in subscription["items"]["data"][0]
    assert shown["invoice.paid"]["subscription"] == subscription["id"]
    assert "parent" not in shown["invoice.paid"]


def test_a_live_mode_key_creates_live_mode_objects() -> None:
    with run_app(lambda: create_app("sk_live_local")) as url:
        live = Stripe(url, "sk_live_local")
        assert new_customer(sdk(live, "sk_live_local")).livemode
        assert live.events()[0]["event"]["livemode"] is True


# Persistence


def test_the_state_is_kept_and_undelivered_events_are_delivered_in_the_next_run(
    tmp_path: Path,
) -> None:
    began = int(time.time())
    file = tmp_path / "data" / "stripe.json"
    with run_app(lambda: create_app(KEY, file=file)) as url:
        before = Stripe(url, KEY)
        subscription = subscribe(sdk(before), before)
        before.advance(3600)
    inbox = Inbox()
    with run_app(inbox.create_app) as hook:
        endpoint = Endpoint(f"{hook}/hook", [SECRET])
        with run_app(lambda: create_app(KEY, endpoint, file=file)) as url:
            after = Stripe(url, KEY)
            kept = sdk(after).v1.subscriptions.retrieve(subscription.id)
            assert kept.to_dict() == subscription.to_dict()
            assert after.ask("GET", "/_clock")["now"] >= began + 3600
            wait_until(lambda: len(inbox.got) == 8)
    with run_app(lambda: create_app(KEY, file=file)) as url:
        assert Stripe(url, KEY).events() == []


def test_stalled_answers_do_not_delay_the_shutdown() -> None:
    began = time.monotonic()
    with run_app(lambda: create_app(KEY)) as url:
        standin = Stripe(url, KEY)
        standin.fault("stall", match="GET /v1/customers")
        with pytest.raises(stripe.APIConnectionError):
            sdk(standin, timeout=0.1).v1.customers.list()
    assert time.monotonic() - began < 3


def test_the_endpoint_subscribes_to_the_events_that_the_webhook_handles(
    client: stripe.StripeClient, standin: Stripe, inbox: Inbox
) -> None:
    assert set(EVENTS) == CHANGES_PLAN
    standin.endpoint(types=EVENTS)
    subscribe(client, standin)
    wait_until(lambda: len(inbox.got) == 3)
    assert {json.loads(body)["type"] for body, _ in inbox.got} == {
        "customer.subscription.created",
        "invoice.paid",
        "checkout.session.completed",
    }


def test_the_clock_of_the_stripe_stand_in_continues_in_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "stripe.json"
    with run_app(lambda: create_app(KEY, file=file)) as url:
        standin = Stripe(url, KEY)
        standin.advance(DAY)
        before = subscribe(sdk(standin), standin)
    with run_app(lambda: create_app(KEY, file=file)) as url:
        standin = Stripe(url, KEY)
        standin.advance(32 * DAY)
        renewed = sdk(standin).v1.subscriptions.retrieve(before.id)
    ends = [one["items"].data[0].current_period_end for one in (before, renewed)]
    assert ends[1] > ends[0] + 27 * DAY
