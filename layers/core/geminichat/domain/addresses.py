"""Networks of IP addresses: limits count all callers in a network as one caller."""

from typing import NamedTuple


class Network(NamedTuple):
    """A network that counts as one caller; a limit's quota is multiplied by `factor`."""

    name: str
    prefix: str
    """Empty for an IPv4 address, else the length of the IPv6 prefix, such as `/64`."""
    factor: int


IPV6_FACTORS = {64: 1, 56: 4, 48: 16}
"""Providers assign a /64 to a device, a /56 to a household and a /48 to a company (RFC 6177)."""


def networks(source: str) -> list[Network]:
    """Return the networks that an IP address belongs to, the narrowest first.

    An IPv4 address is one network; a text that is not an address belongs to the network "unknown".
    """
    import ipaddress  # most functions do not need it

    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return [Network("unknown", "", 1)]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        return [Network(str(address), "", 1)]
    return [
        Network(str(ipaddress.ip_network((address, length), strict=False)), f"/{length}", factor)
        for length, factor in IPV6_FACTORS.items()
    ]


def network(source: str) -> str:
    """Return the name of the narrowest network that an IP address belongs to."""
    return networks(source)[0].name
