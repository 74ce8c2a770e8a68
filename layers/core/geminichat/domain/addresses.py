"""Where requests come from: an IPv4 address, or the /64 of an IPv6 one, which is one customer's."""


def network(source: str) -> str:
    """Return what limits count a source address as; "unknown" for what is none."""
    import ipaddress  # who checks a code, and counts none, does without

    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
