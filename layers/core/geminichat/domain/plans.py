"""The plans that a user can have."""

from datetime import datetime
from enum import StrEnum

from geminichat.domain import times


class Plan(StrEnum):
    """A user's plan: everyone has basic, pro is paid for or granted by an operator."""

    BASIC = "basic"
    PRO = "pro"


def plan_at(now: datetime, *pro_until: str | None) -> Plan:
    """Return the plan at `now` of a user who has pro until the latest of these times.

    The subscription gives one, an operator's grant another; None gives nothing.
    """
    moment = times.text(now)
    return Plan.PRO if any(until and until > moment for until in pro_until) else Plan.BASIC
