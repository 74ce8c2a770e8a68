"""What a limit counts as one source."""

import pytest

from geminichat.domain.addresses import network


@pytest.mark.parametrize(
    ("source", "counted_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("203.0.113.7, 10.0.0.1", "unknown"),
        ("quota:u_1", "unknown"),
    ],
)
def test_an_address_is_counted_as_its_customers_network(source: str, counted_as: str) -> None:
    assert network(source) == counted_as
