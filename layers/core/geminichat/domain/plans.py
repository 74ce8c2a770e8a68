"""The plans that a user can have."""

from enum import StrEnum


class Plan(StrEnum):
    """A user's plan: everyone has basic, pro is paid for."""

    BASIC = "basic"
    PRO = "pro"
