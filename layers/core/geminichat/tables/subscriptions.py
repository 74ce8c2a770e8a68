"""The subscriptions table: what Stripe said of a user last, and how long that makes them pro."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from geminichat.domain import billing, times
from geminichat.domain.billing import LIVE, NONE, Standing, SubscriptionStatus
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Allowance
from geminichat.tables.table import Key, Table, put, transact_if, update, update_if


class ByCustomer(GlobalSecondaryIndex["Subscription"]):
    """Whose Stripe customer it is."""

    class Meta:
        index_name = "by-customer"
        projection = AllProjection()

    stripe_customer_id = UnicodeAttribute(hash_key=True)


class Subscription(Table):
    """A user's subscription; without one, or after `pro_until`, the plan is basic.

    `revision` counts what was stored of Stripe's word, `read_at` is when the last of it was asked
    for. The attempts number the idempotency keys under which things are made at Stripe.
    """

    class Meta:
        setting = "SUBSCRIPTIONS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    stripe_customer_id = UnicodeAttribute(null=True)
    stripe_subscription_id = UnicodeAttribute(null=True)
    status = UnicodeAttribute(default=NONE)
    period_end = UnicodeAttribute(null=True)
    ends = BooleanAttribute(default=False)
    pro_until = UnicodeAttribute(null=True)
    revision = NumberAttribute(default=0)
    read_at = UnicodeAttribute(null=True)
    customer_attempt = NumberAttribute(default=0)
    checkout_attempt = NumberAttribute(default=0)

    by_customer = ByCustomer()


def find(user_id: str) -> Subscription:
    """Return what is stored of the user, which may be nothing yet."""
    try:
        return Subscription.get(user_id, consistent_read=True)
    except Subscription.DoesNotExist:
        return Subscription(user_id)


def key_of(user_id: str) -> Key:
    """Return the key of the user's subscription, for a read together with other items."""
    return Key(Subscription, user_id)


def find_by_customer(customer_id: str) -> Subscription | None:
    """Return whose customer it is, or None; it may be a moment old."""
    return next(iter(Subscription.by_customer.query(customer_id, limit=1)), None)


def plan_of(subscription: Subscription | None, now: datetime) -> Plan:
    """Return the plan that a subscription, or none, gives at `now`."""
    return _plan(subscription.pro_until if subscription else None, now)


def changes_plan(before: Subscription, standing: Standing, now: datetime) -> bool:
    """Say whether the plan that Stripe's word gives at `now` is another than the one before."""
    return _plan(_text(standing.pro_until), now) is not plan_of(before, now)


def _plan(pro_until: str | None, now: datetime) -> Plan:
    return Plan.PRO if pro_until and pro_until > times.text(now) else Plan.BASIC


def is_pro(now: datetime) -> Condition:
    """Return the condition, for use in a transaction, that a subscription gives pro at `now`."""
    return Subscription.pro_until > times.text(now)


def is_live(subscription: Subscription) -> bool:
    """Say whether there is a subscription that has not ended."""
    return subscription.status in LIVE


def keep_customer(user_id: str, customer_id: str) -> str:
    """Store the user's Stripe customer unless there is one, and return the one that is stored."""
    known = Subscription.stripe_customer_id
    free = known.does_not_exist() | (known == customer_id)
    if update_if(Subscription(user_id), [known.set(customer_id)], free):
        return customer_id
    return find(user_id).stripe_customer_id or customer_id


def forget_customer(user_id: str, customer_id: str) -> None:
    """Forget a customer that was deleted at Stripe; the next one is made under a new key."""
    update_if(
        Subscription(user_id),
        [Subscription.stripe_customer_id.remove(), Subscription.customer_attempt.add(1)],
        Subscription.stripe_customer_id == customer_id,
    )


def spend_customer_attempt(user_id: str, attempt: int) -> int:
    """Give up the idempotency key of an attempt to make a customer; return the next attempt."""
    return _spend(user_id, Subscription.customer_attempt, attempt)


def spend_checkout_attempt(user_id: str, attempt: int) -> int:
    """Let the next checkout session be made under a new key; return that attempt."""
    return _spend(user_id, Subscription.checkout_attempt, attempt)


def _spend(user_id: str, attribute: NumberAttribute, attempt: int) -> int:
    """Count an attempt, unless a request beside this one did."""
    same = attribute == attempt
    if attempt == 0:
        same = same | attribute.does_not_exist()
    update_if(Subscription(user_id), [attribute.set(attempt + 1)], same)
    return attempt + 1


def follow(
    news_at: datetime,
    known: Subscription,
    customer_id: str,
    standing_of: Callable[[str], Standing],
    *,
    handled: Table | None = None,
) -> tuple[Subscription, Standing] | None:
    """Store what Stripe says of a customer now, and return what that replaced, and it.

    What it replaced may be newer than `known` (`billing.follow`). None where what is stored was
    asked after this news came. Raises Unavailable, and what `standing_of` raises.
    """
    return billing.follow(
        news_at,
        known,
        find=partial(find, known.user_id),
        fetch=partial(standing_of, customer_id),
        store=partial(store, known.user_id, customer_id, handled=handled),
    )


def store(
    user_id: str,
    customer_id: str,
    standing: Standing,
    read_at: datetime,
    revision: int,
    *,
    handled: Table | None = None,
) -> bool:
    """Store what Stripe said over that revision alone, and the note that its event is handled.

    Returns False where another revision, or another customer, is there by now.
    """
    same = Subscription.revision == revision
    if revision == 0:
        same = same | Subscription.revision.does_not_exist()
    customer = Subscription.stripe_customer_id
    condition = same & (customer.does_not_exist() | (customer == customer_id))
    actions = _actions(customer_id, standing, read_at, revision)
    if handled is None:
        return update_if(Subscription(user_id), actions, condition)

    return transact_if(
        put("event", handled),
        update("subscription", Subscription(user_id), actions, condition),
    )


def _actions(
    customer_id: str, standing: Standing, read_at: datetime, revision: int
) -> list[Action]:
    optional = [
        (Subscription.stripe_subscription_id, standing.subscription_id),
        (Subscription.period_end, _text(standing.period_end)),
        (Subscription.pro_until, _text(standing.pro_until)),
    ]
    return [
        Subscription.stripe_customer_id.set(customer_id),
        Subscription.status.set(standing.status),
        Subscription.ends.set(standing.ends),
        Subscription.revision.set(revision + 1),
        Subscription.read_at.set(times.text(read_at)),
        *(
            attribute.remove() if value is None else attribute.set(value)
            for attribute, value in optional
        ),
    ]


def _text(moment: datetime | None) -> str | None:
    return times.text(moment) if moment else None


def differs(subscription: Subscription, standing: Standing | None) -> bool:
    """Say whether what is stored is not what Stripe says; None is that nothing runs there."""
    if standing is None:
        return is_live(subscription) or subscription.pro_until is not None
    stored = (
        subscription.stripe_subscription_id,
        subscription.status,
        subscription.period_end,
        subscription.ends,
        subscription.pro_until,
    )
    return stored != (
        standing.subscription_id,
        standing.status,
        _text(standing.period_end),
        standing.ends,
        _text(standing.pro_until),
    )


def with_customers() -> Iterator[Subscription]:
    """Return everyone whom Stripe knows, by the index, page by page."""
    yield from Subscription.by_customer.scan()


def view(subscription: Subscription, allowance: Allowance) -> SubscriptionStatus:
    """Return a user's subscription as the wire shows it."""
    return SubscriptionStatus(
        plan=allowance.plan,
        status=subscription.status,
        current_period_end=subscription.period_end,
        cancel_at_period_end=subscription.ends,
        usage=allowance.usage(),
    )
