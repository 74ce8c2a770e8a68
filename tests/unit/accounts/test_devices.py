"""Device tokens: malformed tokens and tokens of other users are ignored without an error."""

import pytest

from geminichat.domain import ids
from geminichat.domain.devices import Device, token_of

KEY = b"k" * 32
ANN = f"u_{'a' * 26}"
SESSION = f"s_{'b' * 26}"
GENUINE = token_of(ANN, SESSION, 7, KEY)


def test_a_device_token_is_genuine_only_with_its_own_user_and_time_and_key() -> None:
    device = Device.read(GENUINE)
    assert device
    assert (device.user_id, device.id) == (ANN, f"d_{SESSION[2:]}")
    assert device.is_genuine(7, [b"x" * 32, KEY])
    assert not device.is_genuine(8, [KEY])
    assert not device.is_genuine(7, [b"x" * 32])
    other = Device.read(GENUINE.replace(ANN, ids.new("u")))
    assert other
    assert not other.is_genuine(7, [KEY])


@pytest.mark.parametrize(
    "token", [None, "", "é", f"{ANN}.d_{'a' * 26}.é", GENUINE + "\n", "\ud800", "\uff11"]
)
def test_a_malformed_device_token_identifies_no_device(token: str | None) -> None:
    assert Device.read(token) is None
