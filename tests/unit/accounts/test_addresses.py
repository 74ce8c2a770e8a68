"""Limits count an IPv4 address, or a network of IPv6 addresses, as one caller."""

import pytest

from geminichat.domain.addresses import network, networks


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
def test_an_ip_address_is_counted_as_its_network(source: str, counted_as: str) -> None:
    assert network(source) == counted_as


def test_an_ipv6_address_counts_for_three_sizes_of_network() -> None:
    found = networks("2001:db8:1:2ff::5")
    assert [(one.name, one.factor) for one in found] == [
        ("2001:db8:1:2ff::/64", 1),
        ("2001:db8:1:200::/56", 4),
        ("2001:db8:1::/48", 16),
    ]
    assert [one.name for one in networks("203.0.113.7")] == ["203.0.113.7"]
