"""Users, as the API shows them."""

import msgspec

from geminichat.domain.plans import Plan
from geminichat.domain.quota import Usage


class Account(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user as the API shows it."""

    id: str
    email: str | None
    email_verified: bool
    mobile: str | None
    mobile_verified: bool
    plan: Plan
    usage: Usage
    created_at: str
