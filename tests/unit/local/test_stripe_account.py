"""The account at Stripe that `make up` takes: the stand-in's, or what the environment names."""

import pytest

from infra.local.__main__ import _stripe_account
from infra.local.up import StripeAccount
from infra.paths import LocalError

NAMES = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_PRICE")


def named(monkeypatch: pytest.MonkeyPatch, *values: str) -> StripeAccount | None:
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)
    return _stripe_account()


def test_without_a_key_it_is_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(monkeypatch, "", "whsec_1", "price_1") is None


@pytest.mark.parametrize("key", ["sk_test_1", "rk_test_1"])
def test_with_a_test_key_it_is_that_account(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    assert named(monkeypatch, key, "whsec_1", "price_1") == StripeAccount(key, "whsec_1", "price_1")


def test_what_goes_with_the_key_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalError, match=r"STRIPE_WEBHOOK_SECRET and STRIPE_PRICE must be too"):
        named(monkeypatch, "sk_test_1", "", "")


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "pk_test_1", "nonsense"])
def test_a_key_that_takes_real_money_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    with pytest.raises(LocalError, match="test mode"):
        named(monkeypatch, key, "whsec_1", "price_1")
