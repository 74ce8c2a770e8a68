"""The codes table: an identity's newest code, hashed, its tries, and when codes were sent.

One item an identity, whatever a code is for: the limits on sends hold for an identity as a whole.
Beside them an item an hour for each address that codes were asked for from.
"""

from datetime import datetime
from typing import Any

import msgspec
from pynamodb.attributes import ListAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat import config
from geminichat.domain import codes
from geminichat.domain.addresses import network
from geminichat.domain.codes import Purpose, Sending, Share
from geminichat.domain.identities import Identity
from geminichat.errors import InvalidCode
from geminichat.tables.table import Table, Write, put, put_if, update, update_if


class Code(Table):
    """A code that was sent; without its digest once it was used. Times are in milliseconds."""

    class Meta:
        setting = "CODES_TABLE"

    identity = UnicodeAttribute(hash_key=True)
    digest = UnicodeAttribute(null=True)
    kid = UnicodeAttribute()
    tries_left = NumberAttribute()
    good_until = NumberAttribute()
    sends: ListAttribute[Any] = ListAttribute(of=NumberAttribute)
    expires_at = NumberAttribute()


class Asked(Table):
    """How many codes were asked for from an address in an hour; `from:…:…` is no identity's key."""

    class Meta:
        setting = "CODES_TABLE"

    identity = UnicodeAttribute(hash_key=True)
    times = NumberAttribute()
    expires_at = NumberAttribute()


class Proof(msgspec.Struct, frozen=True):
    """That someone knew the code; spent by the transaction that acts on it."""

    identity: Identity
    digest: str


def draw(identity: Identity, purpose: Purpose, source: str, now: datetime) -> Sending:
    """Draw a code that was asked for from an address, which is still to be stored.

    Raises TooManyRequests where the address or the identity has had its share.
    """
    share = _count(source, now)
    try:
        before = [int(sent) for sent in Code.get(identity.key, consistent_read=True).sends]
    except Code.DoesNotExist:
        before = []
    return codes.draw(identity, purpose, before, now, share=share)


def _count(source: str, now: datetime) -> Share | None:
    """Count a code against the address it was asked for from, and return what is left to it.

    None where addresses are not limited. Raises TooManyRequests.
    """
    limit = config.number("CODES_PER_ADDRESS")
    if not limit:
        return None
    hour, since = divmod(int(now.timestamp()), 3600)
    asked = Asked(f"from:{network(source)}:{hour}")
    once_more: list[Action] = [Asked.times.add(1), Asked.expires_at.set((hour + 2) * 3600)]
    if not update_if(asked, once_more, Asked.times.does_not_exist() | (Asked.times < limit)):
        raise codes.too_many_from(Share(limit, 0, 3600 - since))
    return Share(limit, limit - int(asked.times), 3600 - since)


def store(sending: Sending) -> None:
    """Store a code, in the place of any older one. Raises TooManyRequests."""
    item = _item(sending)
    # A try whose answer was lost has left the item there: that was this request.
    if not put_if(item, _as_before(sending) | (Code.digest == item.digest)):
        raise sending.too_soon()


def storing(sending: Sending) -> Write:
    """Return the write "sent code", whose condition fails if another code was sent meanwhile."""
    return put("sent code", _item(sending), _as_before(sending))


def _item(sending: Sending) -> Code:
    signing = config.signing_keys()
    return Code(
        sending.identity.key,
        digest=sending.digest(signing.keys[signing.current]),
        kid=signing.current,
        tries_left=codes.TRIES,
        good_until=sending.good_until,
        sends=sending.sends,
        expires_at=int((sending.at + codes.WINDOW).timestamp()) + 1,
    )


def _as_before(sending: Sending) -> Condition:
    if not sending.before:
        return Code.identity.does_not_exist()
    unchanged: Condition = Code.sends == list(sending.before)
    return unchanged


def guess(identity: Identity, purpose: Purpose, otp: str, now: datetime) -> Proof:
    """Take one of the code's tries and return a proof if the guess is right.

    The try is taken before the guess is looked at, so that guesses in parallel share the five.
    Raises InvalidCode.
    """
    code = Code(identity.key)
    alive = Code.digest.exists() & (Code.tries_left > 0) & (Code.good_until > codes.millis(now))
    if not update_if(code, [Code.tries_left.add(-1)], alive):
        raise InvalidCode()
    key = config.signing_keys().keys.get(code.kid)
    digest = code.digest or ""
    if key is None or not codes.is_it(codes.digest(otp, purpose, identity, key), digest):
        raise InvalidCode()
    return Proof(identity, digest)


def spending(proof: Proof) -> Write:
    """Return the write "code", which uses the code up; its condition fails if it was used."""
    return update(
        "code", Code(proof.identity.key), [Code.digest.remove()], Code.digest == proof.digest
    )
