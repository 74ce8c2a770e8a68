"""The subscriptions table: each user's Stripe customer and subscription state."""

from collections.abc import Iterator
from datetime import datetime

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from geminichat.domain import times
from geminichat.domain.billing import NONE, ONGOING, SubscriptionState, SubscriptionStatus
from geminichat.domain.plans import Plan, plan_at
from geminichat.domain.quota import Allowance
from geminichat.domain.sessions import Claims
from geminichat.tables import users
from geminichat.tables.table import (
    Key,
    Table,
    Write,
    check,
    find_item,
    transact_if,
    update,
    update_if,
)


class ByCustomer(GlobalSecondaryIndex["Subscription"]):
    """The users who have a Stripe customer, by customer id."""

    class Meta:
        index_name = "by-customer"
        projection = AllProjection()

    stripe_customer_id = UnicodeAttribute(hash_key=True)


class Subscription(Table):
    """A user's subscription. The plan is pro until `pro_until` or `granted_until`, else basic.

    `pro_until` comes from Stripe. `granted_until` comes from an operator, and Stripe never changes
    it. `revision` counts how often a state from Stripe was stored. `customer_attempt` and
    `checkout_attempt` are parts of the idempotency keys for objects that are created at Stripe.
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
    granted_until = UnicodeAttribute(null=True)
    revision = NumberAttribute(default=0)
    customer_attempt = NumberAttribute(default=0)
    checkout_attempt = NumberAttribute(default=0)

    by_customer = ByCustomer()


def load(user_id: str) -> Subscription:
    """Return the user's item, or a new, empty one that is not stored yet."""
    return find_item(Subscription, user_id) or Subscription(user_id)


def key_of(user_id: str) -> Key:
    """Return the key of the user's item, to read it together with other items."""
    return Key(Subscription, user_id)


def read_plan(caller: Claims, now: datetime) -> Plan:
    """Return the user's plan. Raises Unauthorized if the session has ended."""
    _, known = users.read_current(caller, now, key_of(caller.user_id))
    return plan_of(known, now)


def find_by_customer(customer_id: str) -> Subscription | None:
    """Return the item of the user with this customer, or None; eventually consistent."""
    return next(iter(Subscription.by_customer.query(customer_id, limit=1)), None)


def iterate_customers() -> Iterator[Subscription]:
    """Yield the items of all users who have a Stripe customer, page by page."""
    yield from Subscription.by_customer.scan()


def delete(user_id: str) -> None:
    """Delete the item of a user's subscription."""
    Subscription(user_id).delete()


def plan_of(subscription: Subscription | None, now: datetime) -> Plan:
    """Return the plan that an item gives at `now`; without an item, the basic plan."""
    if subscription is None:
        return Plan.BASIC
    return plan_at(now, subscription.pro_until, subscription.granted_until)


def has_other_plan(before: Subscription, state: SubscriptionState, now: datetime) -> bool:
    """Return whether the plan at `now` changes if `state` replaces the state of `before`."""
    after = plan_at(now, _text(state.pro_until), before.granted_until)
    return after is not plan_of(before, now)


def require_pro(user_id: str, now: datetime) -> Write:
    """Return the write "plan", which requires that the user's item gives pro at `now`."""
    moment = times.text(now)
    condition = (Subscription.pro_until > moment) | (Subscription.granted_until > moment)
    return check("plan", Subscription(user_id), condition)


def grant(user_id: str, until: datetime) -> Write:
    """Return the write "grant", which gives pro until a time, whatever Stripe reports."""
    granted_until = Subscription.granted_until.set(times.text(until))
    return update("grant", Subscription(user_id), [granted_until])


def revoke(user_id: str) -> Write:
    """Return the write "grant", which ends a grant. Its condition fails if there is no grant."""
    granted_until = Subscription.granted_until
    return update("grant", Subscription(user_id), [granted_until.remove()], granted_until.exists())


def store_customer(user_id: str, customer_id: str) -> str:
    """Store the user's Stripe customer unless one is stored; return the stored customer."""
    stored = Subscription.stripe_customer_id
    free = stored.does_not_exist() | (stored == customer_id)
    if update_if(Subscription(user_id), [stored.set(customer_id)], free):
        return customer_id
    return load(user_id).stripe_customer_id or customer_id


def forget_customer(user_id: str, customer_id: str) -> None:
    """Remove a customer that Stripe no longer knows; the next one gets a new idempotency key."""
    update_if(
        Subscription(user_id),
        [Subscription.stripe_customer_id.remove(), Subscription.customer_attempt.add(1)],
        Subscription.stripe_customer_id == customer_id,
    )


def use_up_customer_attempt(user_id: str, attempt: int) -> int:
    """Retire the idempotency key of an attempt to create a customer; return the next attempt."""
    return _use_up_attempt(user_id, Subscription.customer_attempt, attempt)


def use_up_checkout_attempt(user_id: str, attempt: int) -> int:
    """Retire the idempotency key of an attempt to open Checkout; return the next attempt."""
    return _use_up_attempt(user_id, Subscription.checkout_attempt, attempt)


def _use_up_attempt(user_id: str, attribute: NumberAttribute, attempt: int) -> int:
    """Count an attempt unless a concurrent request has counted it."""
    same = attribute == attempt
    if attempt == 0:
        same = same | attribute.does_not_exist()
    update_if(Subscription(user_id), [attribute.set(attempt + 1)], same)
    return attempt + 1


def store_state(
    before: Subscription,
    customer_id: str,
    state: SubscriptionState,
    mark: Write | None = None,
) -> bool:
    """Replace the state of the item `before`, in one transaction with the write `mark`, if given.

    Returns False if the stored item now has another revision or customer, or was deleted.
    """
    revision = int(before.revision)
    same = Subscription.revision == revision
    if revision == 0:
        same = same | Subscription.revision.does_not_exist()
    same_customer = Subscription.stripe_customer_id == customer_id
    if not before.stripe_customer_id:
        same_customer = same_customer | Subscription.stripe_customer_id.does_not_exist()
    condition = same & same_customer
    actions = _set_state(customer_id, state, revision + 1)
    item = Subscription(before.user_id)
    if mark is None:
        return update_if(item, actions, condition)
    return transact_if(mark, update("subscription", item, actions, condition))


def _set_state(customer_id: str, state: SubscriptionState, revision: int) -> list[Action]:
    optional = [
        (Subscription.stripe_subscription_id, state.subscription_id),
        (Subscription.period_end, _text(state.period_end)),
        (Subscription.pro_until, _text(state.pro_until)),
    ]
    return [
        Subscription.stripe_customer_id.set(customer_id),
        Subscription.status.set(state.status),
        Subscription.ends.set(state.ends),
        Subscription.revision.set(revision),
        *(
            attribute.remove() if value is None else attribute.set(value)
            for attribute, value in optional
        ),
    ]


def _text(moment: datetime | None) -> str | None:
    return times.text(moment) if moment else None


def has_state(subscription: Subscription, state: SubscriptionState | None) -> bool:
    """Return whether an item holds this state; None means that nothing is ongoing at Stripe."""
    if state is None:
        return subscription.status not in ONGOING and subscription.pro_until is None
    stored = (
        subscription.stripe_subscription_id,
        subscription.status,
        subscription.period_end,
        subscription.ends,
        subscription.pro_until,
    )
    return stored == (
        state.subscription_id,
        state.status,
        _text(state.period_end),
        state.ends,
        _text(state.pro_until),
    )


def view(subscription: Subscription, allowance: Allowance) -> SubscriptionStatus:
    """Return a user's subscription as the API shows it; a grant that has ended is not shown."""
    is_granted = plan_at(allowance.now, subscription.granted_until) is Plan.PRO
    return SubscriptionStatus(
        plan=allowance.plan,
        status=subscription.status,
        granted_until=subscription.granted_until if is_granted else None,
        current_period_end=subscription.period_end,
        cancel_at_period_end=subscription.ends,
        usage=allowance.usage(),
    )
