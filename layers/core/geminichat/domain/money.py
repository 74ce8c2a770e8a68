"""The unit of money: whole micro-dollars."""

MILLION = 1_000_000
"""Micro-dollars per US dollar, and the number of tokens that a price is for."""
