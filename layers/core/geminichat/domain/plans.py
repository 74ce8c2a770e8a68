"""The plans that are sold, and what a subscription's state means for its owner's plan."""

from enum import StrEnum


class Plan(StrEnum):
    """What a user has: everyone has basic, pro is paid for."""

    BASIC = "basic"
    PRO = "pro"
