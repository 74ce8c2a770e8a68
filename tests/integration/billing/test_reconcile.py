"""The nightly comparison of stored subscriptions with Stripe, which fixes differences."""

from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain import times
from geminichat.tables.subscriptions import Subscription
from infra.local.standins.stripe import create_app
from tests.support.billing import reconcile, set_secrets
from tests.support.lagging_index import delay_index
from tests.support.lambdas import invoke
from tests.support.person import Person
from tests.support.standins import run_app
from tests.support.template import Values
from tests.support.wire import Wire


@pytest.fixture(autouse=True)
def _no_difference() -> None:
    """Fix the differences that earlier tests left."""
    reconcile()


def test_reconcile_gives_pro_to_a_user_if_the_event_of_the_purchase_was_lost(payer: Person) -> None:
    payer.pay()
    assert payer.plan() == "basic"
    assert reconcile()["fixed"] == 1
    assert payer.plan() == "pro"


def test_reconcile_ends_pro_if_the_event_of_the_subscriptions_end_was_lost(
    subscriber: Person,
) -> None:
    reconcile()
    subscriber.move("cancel")
    assert subscriber.plan() == "pro"
    assert reconcile()["fixed"] == 1
    assert (subscriber.plan(), subscriber.status()["status"]) == ("basic", "canceled")


@pytest.mark.parametrize("move", ["cancel-at-period-end", "fail-payment", "pause", "end-period"])
def test_reconcile_stores_every_change_if_its_event_was_lost(subscriber: Person, move: str) -> None:
    subscriber.stripe.advance(60)
    subscriber.move(move)
    assert reconcile()["fixed"] == 1
    [raw] = subscriber.at_stripe()
    assert subscriber.status()["status"] == raw["status"]
    assert subscriber.status()["cancelAtPeriodEnd"] == (raw["cancel_at"] is not None)
    assert subscriber.status()["currentPeriodEnd"] == times.text(subscriber.period_end())


def test_a_dry_run_of_reconcile_reports_the_differences_and_changes_nothing(
    payer: Person, subscriber: Person
) -> None:
    other = Person.new_proven(payer.api, payer.stripe)
    other.pay()
    subscriber.move("cancel")
    for _ in range(2):
        said = reconcile(dryRun=True)
        assert said["fixed"] == 2
        [lost, ended] = sorted(said["changes"], key=lambda change: "canceled" in change)
        assert lost.startswith(f"{other.id}: none, basic → active, pro until 20")
        assert ended.startswith(f"{subscriber.id}: active, pro until 20")
        assert ended.endswith(" → canceled, basic")
    assert (other.plan(), subscriber.plan()) == ("basic", "pro")
    assert sorted(reconcile()["changes"]) == sorted(said["changes"])
    assert (other.plan(), subscriber.plan()) == ("pro", "basic")


@pytest.mark.parametrize("move", ["keep", "cancel"], ids=["active", "ended"])
def test_reconcile_does_not_write_an_item_without_differences(
    subscriber: Person, move: str
) -> None:
    subscriber.change(move)
    reconcile()
    before = subscriber.subscription()
    assert reconcile()["fixed"] == 0
    assert subscriber.subscription().revision == before.revision


@pytest.mark.both_engines
def test_reconcile_does_not_report_a_subscription_that_the_index_does_not_show_yet(
    payer: Person, wire: Wire, values: Values
) -> None:
    with delay_index(wire, values, "SubscriptionsTable", "by-customer"):
        payer.pay()
        payer.deliver_events()
        for options in ({"dryRun": True}, {}):
            assert reconcile(**options)["fixed"] == 0
    assert payer.plan() == "pro"


def test_reconcile_ends_pro_if_stripe_does_not_have_the_subscription(payer: Person) -> None:
    payer.checkout()
    until = times.text(datetime.now(UTC) + timedelta(days=300))
    payer.subscription().update([Subscription.pro_until.set(until)])
    assert payer.plan() == "pro"
    assert reconcile()["fixed"] == 1
    assert payer.plan() == "basic"


def test_reconcile_stores_a_lost_subscription_item_again(subscriber: Person) -> None:
    subscriber.subscription().delete()
    assert subscriber.plan() == "basic"
    assert reconcile()["fixed"] == 1
    assert subscriber.plan() == "pro"


def test_an_error_with_one_user_does_not_stop_the_reconciliation_of_other_users(
    subscriber: Person, payer: Person
) -> None:
    other = Person.new_proven(payer.api, payer.stripe)
    other.pay()
    subscriber.move("cancel")
    payer.stripe.fault(
        "error", status=500, match=f"GET /v1/subscriptions customer={subscriber.customer_id()}"
    )
    with pytest.raises(RuntimeError, match="not compared"):
        reconcile()
    assert other.plan() == "pro"
    assert reconcile()["fixed"] == 1
    assert subscriber.plan() == "basic"


def test_reconcile_changes_nothing_during_an_outage_of_stripe(subscriber: Person) -> None:
    subscriber.stripe.fault("error", status=503, match="/v1/", times="always")
    with pytest.raises(Exception, match="payment provider"):
        reconcile()
    assert subscriber.plan() == "pro"


def test_reconcile_with_a_stripe_key_of_another_account_ends_no_plan(
    subscriber: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key of another account Stripe finds none of the stage's customers."""
    other_key = "sk_test_other_account"
    with run_app(lambda: create_app(other_key)) as url:
        monkeypatch.setenv("STRIPE_ENDPOINT", url)
        set_secrets(key=other_key)
        with pytest.raises(RuntimeError, match="not compared"):
            reconcile()
    assert subscriber.plan() == "pro"


def test_reconcile_ends_pro_only_for_the_customer_that_stripe_does_not_have(
    subscriber: Person, payer: Person
) -> None:
    other = Person.new_proven(payer.api, payer.stripe)
    other.buy()
    subscriber.stripe.forget_customer(subscriber.customer_id())
    assert reconcile()["fixed"] == 1
    assert (subscriber.plan(), other.plan()) == ("basic", "pro")


def test_reconcile_reports_the_number_of_users_that_were_not_compared_in_time(
    subscriber: Person,
) -> None:
    subscriber.move("cancel")
    with pytest.raises(RuntimeError, match=r"'left': [1-9]"):
        invoke("SubscriptionReconcile", {}, seconds=0)
    assert subscriber.plan() == "pro"
