"""The limits on wrong passwords, for each kind of caller."""

import msgspec

from geminichat.domain.addresses import networks
from geminichat.domain.identities import Identity
from geminichat.domain.limits import Pause

MINUTE, HOUR, DAY = 60, 3600, 86_400

FREE = 5
"""Wrong passwords per identity and IP address, or per session, before the first pause."""
FREE_OF_DEVICE = 10
FREE_OF_ADDRESS = 20
"""Wrong passwords per IP address, for any identity; many people may share an IP address."""
FREE_OF_IDENTITY = 99
"""Wrong passwords in a row per identity, from all IP addresses. After one more wrong password,
every password is refused for a day, except from devices that have logged in before (NIST SP
800-63B, 5.2.2)."""


def of_stranger(identity: Identity, source: str) -> list[Pause]:
    """Return the limits on wrong passwords from a caller without a device token."""
    around = networks(source)
    own = Pause(
        name="passwords",
        key=f"passwords:{identity.digest}@{around[0].name}",
        quota=FREE,
        first=MINUTE // 2,
        longest=HOUR,
        kept=DAY,
        policy="passwords",
    )
    addresses = [
        Pause(
            name=f"address{network.prefix}",
            key=f"passwords@{network.name}",
            quota=FREE_OF_ADDRESS * network.factor,
            first=MINUTE // 2,
            longest=HOUR // 4,
            kept=HOUR,
            policy="" if place else "address",
        )
        for place, network in enumerate(around)
    ]
    return [own, of_identity(identity), *addresses]


def of_identity(identity: Identity) -> Pause:
    """Return the limit for an identity on all wrong passwords sent without a device token."""
    return Pause(
        name="all passwords",
        key=f"passwords:{identity.digest}",
        quota=FREE_OF_IDENTITY,
        first=DAY,
        longest=DAY,
        kept=30 * DAY,
    )


def of_device(device_id: str) -> list[Pause]:
    """Return the limits on wrong passwords from a device that has logged in before."""
    return [
        Pause(
            name="passwords",
            key=f"passwords:{device_id}",
            quota=FREE_OF_DEVICE,
            first=MINUTE // 2,
            longest=HOUR // 4,
            kept=DAY,
            policy="passwords",
        )
    ]


def of_session(session_id: str) -> list[Pause]:
    """Return the limits on wrong passwords that are sent in a session to confirm changes."""
    [limit] = of_device(session_id)
    return [msgspec.structs.replace(limit, quota=FREE, longest=HOUR)]
