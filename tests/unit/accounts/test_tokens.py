"""Access tokens, and the attacks on them that RFC 8725 lists."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from geminichat import access_tokens
from geminichat.domain import ids
from geminichat.domain.sessions import Claims
from geminichat.errors import Unauthorized

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEYS = {"k1": b"1" * 32, "k2": b"2" * 32}
ANN = Claims(ids.new("u"), ids.new("s"))
HEADER = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
NOW = int(NOON.timestamp())
BODY = {
    "iss": "geminichat",
    "aud": "geminichat-api",
    "sub": ANN.user_id,
    "sid": ANN.session_id,
    "iat": NOW,
    "exp": NOW + 900,
    "jti": "t_1",
}


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(
    header: Any = None,
    body: Any = None,
    *,
    key: bytes = KEYS["k1"],
    hash_: str = "sha256",
    without: str = "",
) -> str:
    """Return a token with any header and claims, signed by the test."""
    claims = BODY | (body or {}) if isinstance(body, dict | None) else body
    if without:
        claims = {name: value for name, value in claims.items() if name != without}
    signed = f"{encode(HEADER | (header or {}))}.{encode(claims)}"
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), hash_))}"


def unsigned_token(algorithm: str, signature: str = "") -> str:
    return f"{encode(HEADER | {'alg': algorithm})}.{encode(BODY)}.{signature}"


def token_of_another_user() -> str:
    header, _, signature = token().split(".")
    return f"{header}.{encode(BODY | {'sub': ids.new('u')})}.{signature}"


GOOD = token()
PUBLIC_KEY = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"

ATTACKS: dict[str, str | Callable[[], str]] = {
    # 2.1, 3.1: weak or missing algorithms, and confusion between them
    "alg none": unsigned_token("none"),
    "alg None": unsigned_token("None"),
    "alg nOnE, with a signature": unsigned_token("nOnE", GOOD.split(".")[2]),
    "alg none, with the good signature": unsigned_token("none", GOOD.split(".")[2]),
    "no signature under HS256": unsigned_token("HS256"),
    "alg empty": unsigned_token(""),
    "HS384 with the right key": lambda: token({"alg": "HS384"}, hash_="sha384"),
    "HS512 with the right key": lambda: token({"alg": "HS512"}, hash_="sha512"),
    "HS1": lambda: token({"alg": "HS1"}, hash_="sha1"),
    "RS256 in the header, but signed by HMAC": token({"alg": "RS256"}),
    "ES256 in the header, but signed by HMAC": token({"alg": "ES256"}),
    "EdDSA in the header, but signed by HMAC": token({"alg": "EdDSA"}),
    "a public key used as HMAC secret": token(key=PUBLIC_KEY),
    "an algorithm that is a list": token({"alg": ["HS256"]}),
    "an algorithm that is null": token({"alg": None}),
    # 2.2, 3.5: keys that can be guessed
    "an empty key": token(key=b""),
    "the kid as key": token(key=b"k1"),
    "a wordlist's key": token(key=b"secret"),
    "our key k2 under the kid k1": token(key=KEYS["k2"]),
    # 2.9, 3.10: indirect attacks by way of kid, jku, x5u, jwk
    "an unknown kid": token({"kid": "k3"}),
    "a kid with a path": token({"kid": "../../../../dev/null"}, key=b""),
    "a kid with the path of our keys": token({"kid": "/geminichat/dev/signing-keys"}),
    "a kid with SQL": token({"kid": "k1' UNION SELECT 'x"}, key=b"x"),
    "a kid that is an operator": token({"kid": {"$ne": ""}}),
    "a kid that is a list": token({"kid": ["k1"]}),
    "a kid that is a number": token({"kid": 1}),
    "a kid that is empty": token({"kid": ""}),
    "a kid that is null": token({"kid": None}),
    "no kid": f"{encode({'alg': 'HS256'})}.{encode(BODY)}." + GOOD.split(".")[2],
    "a key of its own in jwk": token(
        {"kid": "k9", "jwk": {"kty": "oct", "k": encode(b"x" * 32)}}, key=b"x" * 32
    ),
    "a key from elsewhere in jku": token({"kid": "k9", "jku": "https://evil.example/k"}),
    "a certificate from elsewhere in x5u": token({"kid": "k9", "x5u": "https://evil.example/c"}),
    # 3.11, 2.8: unknown critical headers
    "a critical extension": token({"crit": ["exp"]}),
    "an unknown critical extension": token({"crit": ["x"], "x": 1}),
    # 2.3, 2.4: broken or encrypted forms
    "a changed body": token_of_another_user,
    "a signature cut short": GOOD[:-2],
    "five parts, as in an encrypted token": ".".join([GOOD, "a", "b"]),
    "two parts": GOOD.rpartition(".")[0],
    "one part": "k1",
    "nothing": "",
    "dots": "..",
    "a header that is not an object": f"{encode([])}.{encode(BODY)}.{encode(b'x' * 32)}",
    "a body that is not an object": token(body=["sub"]),
    "a body that is not JSON": token(body=b"{"),
    "ten thousand brackets": token(body=b"[" * 10_000),
    "a header in UTF-16": f"{encode(json.dumps(HEADER).encode('utf-16'))}.{encode(BODY)}.",
    "characters that no token has": "é" + GOOD,
    "a lone surrogate": "\ud800" + GOOD,
    # 3.8, 3.9, 3.12: issuer, audience and kind are pinned
    "another issuer": token(body={"iss": "https://evil.example"}),
    "an issuer that begins like ours": token(body={"iss": "geminichat.evil.example"}),
    "an issuer that is a list": token(body={"iss": ["geminichat"]}),
    "another audience": token(body={"aud": "geminichat-admin"}),
    "other audiences": token(body={"aud": ["a", "b"]}),
    "an audience that is a number": token(body={"aud": 1}),
    **{f"no {claim}": token(without=claim) for claim in access_tokens.CLAIMS},
    # invalid times
    "expired this second": token(body={"iat": NOW - 900, "exp": NOW}),
    "expired long ago": token(body={"iat": NOW - 9000, "exp": NOW - 8100}),
    "exp as text": token(body={"exp": str(NOW + 900)}),
    "exp as true": token(body={"exp": True}),
    "exp as null": token(body={"exp": None}),
    "exp as a list": token(body={"exp": [NOW + 900]}),
    "exp without end": token(body=json.dumps(BODY).replace(str(NOW + 900), "1e999").encode()),
    "exp not a number": token(body=json.dumps(BODY).replace(str(NOW + 900), "NaN").encode()),
    # invalid subjects
    "sub as a number": token(body={"sub": 1}),
    "sub as an operator": token(body={"sub": {"$gt": ""}}),
    "sub as null": token(body={"sub": None}),
    "sid as an operator": token(body={"sid": {"$gt": ""}}),
    "sid as null": token(body={"sid": None}),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_forged_or_changed_token_is_refused(attack: str | Callable[[], str]) -> None:
    with pytest.raises(Unauthorized):
        access_tokens.verify(attack if isinstance(attack, str) else attack(), KEYS, NOON)


def test_the_token_is_valid_before_an_attack_changes_it() -> None:
    assert access_tokens.verify(GOOD, KEYS, NOON) == ANN


@pytest.mark.parametrize("kid", KEYS)
def test_an_access_token_is_valid_for_fifteen_minutes(kid: str) -> None:
    issued = access_tokens.issue(ANN, kid, KEYS[kid], NOON)
    assert access_tokens.verify(issued, KEYS, NOON) == ANN
    last = NOON + timedelta(minutes=15) - timedelta(milliseconds=1)
    assert access_tokens.verify(issued, KEYS, last) == ANN
    with pytest.raises(Unauthorized, match="expired"):
        access_tokens.verify(issued, KEYS, NOON + timedelta(minutes=15))


@pytest.mark.parametrize("keys", [{}, {"k1": b"x" * 32}], ids=["removed", "replaced"])
def test_a_verified_token_is_refused_after_its_signing_key_is_removed(
    keys: dict[str, bytes],
) -> None:
    issued = access_tokens.issue(ANN, "k1", KEYS["k1"], NOON)
    assert access_tokens.verify(issued, KEYS, NOON) == ANN
    with pytest.raises(Unauthorized):
        access_tokens.verify(issued, keys, NOON)


def test_an_access_token_has_exactly_the_defined_claims() -> None:
    issued = access_tokens.issue(ANN, "k1", KEYS["k1"], NOON)
    header, body, _ = issued.split(".")
    pad = "=="
    assert json.loads(base64.urlsafe_b64decode(header + pad)) == HEADER
    assert set(json.loads(base64.urlsafe_b64decode(body + pad))) == set(access_tokens.CLAIMS)
    assert access_tokens.issue(ANN, "k1", KEYS["k1"], NOON) != issued


def test_an_access_token_contains_no_hash_of_its_signing_key() -> None:
    issued = access_tokens.issue(ANN, "k1", KEYS["k1"], NOON)
    assert hashlib.sha256(KEYS["k1"]).hexdigest() not in issued
