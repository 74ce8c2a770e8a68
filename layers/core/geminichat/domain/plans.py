"""The plans that a user can have."""

from datetime import datetime
from enum import StrEnum

from geminichat.domain import times


class Plan(StrEnum):
    """A user's plan: everyone has basic; users pay for pro, or an operator grants it."""

    BASIC = "basic"
    PRO = "pro"


def plan_at(now: datetime, *pro_until: str | None) -> Plan:
    """Return a user's plan at `now`: pro until the latest time in `pro_until`, then basic.

    The subscription and an operator's grant each give such a time, or None for no pro plan.
    """
    moment = times.text(now)
    return Plan.PRO if any(until and until > moment for until in pro_until) else Plan.BASIC
