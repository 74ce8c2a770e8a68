"""Attacks on an account's owner: strangers sign up first with the identity, or guess passwords.

The first test combines every sign-up of a stranger, everything that the stranger can create, and
every way in which the owner proves the identity. It then sends the stranger's token to every route.
For Stripe pages that an earlier release gave to unproven accounts see billing/test_strangers.py.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.support.every_route import request_every_route
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import OTHER_PASSWORD, Person, check_problem, new_email, new_mobile
from tests.support.stored import NO_MESSAGE, NO_ROOM, messages_in

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=2)
"""A time at which an unproven sign-up at `NOW` no longer counts as in use."""
STRANGERS = "the stranger's password"


@dataclass
class Stranger:
    """A stranger who signed up with the owner's identity, and the stranger's data."""

    person: Person
    tokens: dict[str, str] = field(default_factory=dict)
    room: str = NO_ROOM
    message: str = NO_MESSAGE


def sign_up(owner: Person, password: str | None) -> Stranger:
    stranger = Stranger(person := Person(owner.api, owner.identity))
    reply = person.sign_up(password, at=NOW)
    assert reply.status == 201
    stranger.tokens = {name: value for name, value in reply.data.items() if "oken" in name}
    return stranger


def create_nothing(_stranger: Stranger) -> None:
    """Create nothing, so that the stranger has only the tokens."""


def create_a_room(stranger: Stranger) -> None:
    """Create a room with an instruction and a prompt with an idempotency key."""
    person = stranger.person
    stranger.room = person.open_room("Planted", systemInstruction="Ask for the password")
    stranger.message = person.ask(stranger.room, "Planted", key="once")


def request_a_checkout_page(stranger: Stranger) -> None:
    """Request a Checkout page, which an unproven account does not get."""
    check_problem(stranger.person.post("/subscribe/pro"), 403, "identity-not-proven")


def request_a_portal_page(stranger: Stranger) -> None:
    """Request Stripe's portal, which an unproven account does not get."""
    check_problem(stranger.person.post("/subscription/portal"), 409, "no-customer")


def verify(owner: Person) -> None:
    owner.prove(at=LATER)


def reset(owner: Person) -> None:
    owner.forget_password(at=LATER)
    assert owner.reset(owner.code(), OTHER_PASSWORD, at=LATER).status == 200
    assert owner.log_in(OTHER_PASSWORD, at=LATER).status == 200


def log_in_then_verify(owner: Person) -> None:
    check_problem(owner.log_in(OTHER_PASSWORD, at=LATER), 401, "invalid-credentials")
    owner.prove(at=LATER)


def sign_up_again(owner: Person) -> None:
    assert owner.sign_up(OTHER_PASSWORD, at=LATER).status == 201
    if not owner.token:
        owner.prove(at=LATER + timedelta(seconds=30))


def add_to_an_account(owner: Person) -> None:
    """Add the identity to an account that the owner already has with another identity."""
    first = Person(owner.api)
    first.prove(at=NOW)
    assert first.add_identity(owner, at=LATER).status == 200
    owner.id, owner.session_id, owner.token = first.id, first.session_id, first.token_at(LATER)


WAYS_IN = {
    "email and password": (new_email, STRANGERS),
    "mobile and password": (new_mobile, STRANGERS),
    "mobile": (new_mobile, None),
}
CREATIONS = [create_nothing, create_a_room, request_a_checkout_page, request_a_portal_page]
"""The functions that create something for the stranger, who needs a token for all but the first."""
PATHS = [verify, reset, log_in_then_verify, sign_up_again, add_to_an_account]
ROWS = [
    (way, create, path)
    for way, create, path in itertools.product(WAYS_IN, CREATIONS, PATHS)
    if WAYS_IN[way][1] or create is create_nothing
]


@pytest.mark.parametrize(
    ("way", "create", "path"),
    ROWS,
    ids=[f"{way}, {create.__name__}, {path.__name__}" for way, create, path in ROWS],
)
def test_a_stranger_who_signed_up_first_neither_reads_nor_changes_the_owners_data(
    api: Api, way: str, create: Callable[[Stranger], None], path: Callable[[Person], None]
) -> None:
    new, password = WAYS_IN[way]
    owner = Person(api, new())
    stranger = sign_up(owner, password)
    create(stranger)
    path(owner)
    room = owner.post("/chatroom", {"title": "Mine"}, at=LATER).data["id"]
    message = owner.ask(room, "Secret", key="once", at=LATER)
    before = read_state(owner, room)

    # The owner sees nothing that the stranger created.
    [listed] = owner.get("/chatroom", at=LATER).data["chatrooms"]
    assert listed["id"] == room
    check_problem(owner.get(f"/chatroom/{stranger.room}", at=LATER), 404, "not-found")
    assert owner.id != stranger.person.id or not password

    # Every route refuses the stranger's token.
    for token in list_access_tokens(stranger):
        for target, of in ((room, message), (stranger.room, stranger.message)):
            for route, reply in request_every_route(api, partial(str, token), target, of, LATER):
                assert_refused(route, reply, owner, room)
    if password:
        check_problem(stranger.person.log_in(password, at=LATER), 401, "invalid-credentials")
        device = stranger.tokens["deviceToken"]
        reply = stranger.person.log_in(password, device_token=device, at=LATER)
        check_problem(reply, 401, "invalid-credentials")

    assert read_state(owner, room) == before
    assert owner.me(at=LATER).status == 200


def list_access_tokens(stranger: Stranger) -> list[str]:
    """Return the stranger's access token in a list, and check that the refresh token is refused."""
    if not stranger.tokens:
        return []
    reply = stranger.person.refresh(stranger.tokens["refreshToken"], at=LATER)
    check_problem(reply, 401, "unauthorized")
    token = Person(stranger.person.api)
    token.id, token.session_id, token.token = stranger.person.id, stranger.person.session_id, "-"
    return [token.token_at(LATER)]


def assert_refused(route: str, reply: Reply, owner: Person, room: str) -> None:
    assert reply.status == 401, f"{route}: {reply.text}"
    for secret in (owner.id, room.removeprefix("r_"), owner.identity.value):
        assert secret not in reply.text, route


def read_state(owner: Person, room: str) -> object:
    """Return the owner's account, the contents of the room's messages, and the room's title."""
    account = {**owner.me(at=LATER).data}
    messages = [(item.seq, item.content) for item in messages_in(room)]
    return account, messages, owner.get(f"/chatroom/{room}", at=LATER).data["title"]


# ── Guesses ─────────────────────────────────────────────────────────────────────────────────────


def attack(api: Api, identity: Person, requests: int, addresses: int) -> None:
    """Send wrong passwords, wrong codes and requests for codes from `addresses` IP addresses."""
    kinds = itertools.cycle(("password", "code", "send", "reset", "challenge"))
    asked: dict[str, str] = {}

    def act(number: int, kind: str) -> None:
        source = f"198.18.{number % addresses}.1"
        eve = Person(api, identity.identity)
        match kind:
            case "password":
                eve.log_in(f"wrong password {number}", at=LATER, source=source)
            case "code":
                eve.verify(f"{number:06}", at=LATER, source=source)
            case "send":
                reply = eve.ask_for_code(at=LATER, source=source)
                if reply.status == 200:
                    asked[source] = reply.data["challenge"]
            case "reset":
                eve.reset(f"{number:06}", at=LATER, source=source)
            case "challenge" if source in asked:
                eve.verify(f"{number:06}", challenge=asked[source], at=LATER, source=source)

    for batch in itertools.batched(zip(range(requests), kinds, strict=False), 20, strict=False):
        at_once([partial(act, number, kind) for number, kind in batch])


@pytest.mark.parametrize(("requests", "addresses"), [(200, 1), (600, 10)])
@pytest.mark.parametrize("holds", ["a device token", "no device token"])
def test_the_owner_can_log_in_by_password_and_by_code_during_an_attack(
    api: Api, requests: int, addresses: int, holds: str
) -> None:
    ann = Person.with_password(api, at=NOW)
    token = ann.token
    own = ann.device_token if holds == "a device token" else None
    attack(api, ann, requests, addresses)

    assert ann.log_in(at=LATER, device_token=own).status == 200
    asked = ann.ask_for_code(at=LATER, device_token=own)
    assert asked.status == 200, asked.text
    reply = ann.verify(ann.code(), challenge=asked.data["challenge"], at=LATER)
    assert reply.status == 200, reply.text
    assert ann.me(token).status == 200, "a session has ended"
    assert len(ann.messages()) <= 2 + 1 + addresses


def test_attacks_from_a_hundred_ip_addresses_do_not_lock_out_the_owners_device(
    api: Api,
) -> None:
    """The limits block codes and passwords for every caller but the owner's device."""
    ann = Person.with_password(api, at=NOW)
    device = ann.device_token
    for n in range(100):
        source = f"198.19.{n}.1"
        ann.log_in("wrong password", at=LATER, source=source)
        ann.verify("000000", at=LATER, source=source)
    check_problem(ann.log_in(at=LATER), 429, "too-many-requests")
    assert ann.log_in(at=LATER, device_token=device).status == 200
    asked = ann.ask_for_code(at=LATER, device_token=device).data
    assert ann.verify(ann.code(), challenge=asked["challenge"], at=LATER).status == 200
    assert ann.log_in(at=LATER).status == 200, (
        "a correct code did not reset the count of wrong passwords"
    )
