"""Accounts: what the bodies of /auth may say, and what the wire shows of a user."""

from typing import Annotated

import msgspec

from geminichat.domain.quota import Usage


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign-up with an email address and a password."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
    password: Annotated[str, msgspec.Meta(min_length=8, max_length=128)]
