"""Signing keys, and their rotation."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from geminichat import access_tokens
from geminichat.config import SECRET_LIFETIME
from geminichat.domain import signing
from geminichat.domain.sessions import ACCESS_LIFETIME, Claims
from geminichat.domain.signing import StoredKeys
from geminichat.errors import Unauthorized

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"\xfb\xff" * 16
CLAIMS = Claims("u_ann", "s_one")


def test_signing_keys_are_unchanged_after_they_were_written_and_read() -> None:
    stored = StoredKeys.create("k1", OLD).add("k2", NEW, NOON)
    assert StoredKeys.read(stored.text()) == stored
    assert stored.select(NOON).keys == {"k1": OLD, "k2": NEW}


def test_signing_keys_in_standard_and_in_url_safe_base64_are_read() -> None:
    plain = {"current": "k", "keys": {"k": "+/" * 21 + "8="}}
    url = {"current": "k", "keys": {"k": "-_" * 21 + "8"}}
    keys = [StoredKeys.read(json.dumps(held)).select(NOON).keys for held in (plain, url)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    "held",
    [
        "",
        "{}",
        '{"current": "k1", "keys": {}}',
        '{"current": "k1", "keys": {"k1": ""}}',
        '{"current": "k1", "keys": {"k1": "c2hvcnQ="}}',
        '{"current": "k1", "keys": {"k1": "not base64, but long enough to look like a key"}}',
    ],
)
def test_malformed_signing_keys_are_refused(held: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        StoredKeys.read(held)


def test_a_new_signing_key_is_used_after_every_sandbox_has_read_it() -> None:
    stored = StoredKeys.create("k1", OLD).add("k2", NEW, NOON)
    assert stored.select(NOON).current == "k1"
    assert stored.select(NOON + timedelta(seconds=SECRET_LIFETIME)).current == "k1"
    assert stored.select(NOON + signing.SPREAD).current == "k2"


def test_tokens_of_the_old_key_are_accepted_until_it_is_removed() -> None:
    """One sandbox reads the new keys at once, another as late as possible."""
    before = StoredKeys.create("k1", OLD)
    during = before.add("k2", NEW, NOON)
    removable = during.removable_from()
    assert removable is not None
    after = during.remove_previous()
    late = timedelta(seconds=SECRET_LIFETIME)
    history = [(NOON - timedelta(hours=1), before), (NOON, during), (removable, after)]

    def read_keys(now: datetime, delay: timedelta) -> StoredKeys:
        return [keys for since, keys in history if since + delay <= now][-1]

    moments = [NOON + timedelta(minutes=minute) for minute in range(-20, 60)]
    assert all(b - a < ACCESS_LIFETIME for a, b in pairwise(moments))
    for signed_at in moments:
        for signer in (timedelta(0), late):
            using = read_keys(signed_at, signer).select(signed_at)
            key = using.keys[using.current]
            token = access_tokens.issue(CLAIMS, using.current, key, signed_at)
            for read_at in (signed_at, signed_at + ACCESS_LIFETIME - timedelta(seconds=1)):
                for reader in (timedelta(0), late):
                    keys = read_keys(read_at, reader).select(read_at).keys
                    assert access_tokens.verify(token, keys, read_at) == CLAIMS

    forged = access_tokens.issue(CLAIMS, "k1", OLD, removable + late)
    with pytest.raises(Unauthorized):
        access_tokens.verify(
            forged, read_keys(removable + late, late).select(removable + late).keys, removable
        )


def test_a_third_signing_key_is_never_added() -> None:
    stored = StoredKeys.create("k1", OLD).add("k2", NEW, NOON).add("k3", b"3" * 32, NOON)
    assert set(stored.keys) == {"k2", "k3"}
