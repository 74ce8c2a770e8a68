"""Device tokens: whatever a client sends in their place is no error."""

import pytest

from geminichat.domain import devices

KEY = b"k" * 32
GENUINE = devices.token_of("u_1", "s_" + "a" * 26, KEY)


def test_a_device_token_is_genuine_for_its_user_and_its_key_only() -> None:
    assert devices.is_genuine(GENUINE, "u_1", [b"x" * 32, KEY])
    assert not devices.is_genuine(GENUINE, "u_2", [KEY])
    assert not devices.is_genuine(GENUINE, "u_1", [b"x" * 32])


@pytest.mark.parametrize(
    "token", ["", "é", "d_" + "a" * 26 + ".é", GENUINE + "\n", "\ud800", "\uff11"]
)
def test_a_malformed_device_token_is_not_genuine(token: str) -> None:
    assert not devices.is_genuine(token, "u_1", [KEY])
