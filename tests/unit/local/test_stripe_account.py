"""`make up` uses the stand-in for Stripe, or the account whose key is in the environment."""

import pytest

from infra.command import CommandError
from infra.local.__main__ import _stripe_account
from infra.local.up import StripeAccount

NAMES = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_PRICE")


def use(monkeypatch: pytest.MonkeyPatch, *values: str) -> StripeAccount | None:
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)
    return _stripe_account()


def test_without_a_stripe_key_the_stand_in_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert use(monkeypatch, "", "whsec_1", "price_1") is None


@pytest.mark.parametrize("key", ["sk_test_1", "rk_test_1"])
def test_a_test_mode_key_in_the_environment_selects_its_stripe_account(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    assert use(monkeypatch, key, "whsec_1", "price_1") == StripeAccount(key, "whsec_1", "price_1")


def test_a_stripe_key_requires_a_webhook_secret_and_a_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CommandError, match=r"WEBHOOK_SECRET and STRIPE_PRICE must be set"):
        use(monkeypatch, "sk_test_1", "", "")


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "pk_test_1", "nonsense"])
def test_a_stripe_key_of_live_mode_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    with pytest.raises(CommandError, match="test-mode"):
        use(monkeypatch, key, "whsec_1", "price_1")
