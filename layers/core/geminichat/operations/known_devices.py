"""Recognize devices that have logged in before: strangers' guesses do not delay such devices."""

from geminichat import config
from geminichat.domain.devices import Device
from geminichat.tables.identities import IdentityRecord
from geminichat.tables.users import User


def is_known(device: Device | None, record: IdentityRecord | None, user: User | None) -> bool:
    """Return whether a device has logged in to the account of a proven identity.

    `record` is the identity's record, and `user` is the user that the device token names.
    """
    return (
        device is not None
        and user is not None
        and record is not None
        and record.proven
        and record.user_id == user.user_id == device.user_id
        and device.is_genuine(int(user.devices_since), config.signing_keys().keys.values())
    )
