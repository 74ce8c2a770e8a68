"""Money: whole micro-dollars."""

MILLION = 1_000_000
"""Micro-dollars per US dollar; also the number of tokens for which a price is given."""


def price(input_tokens: int, output_tokens: int, price_in: int, price_out: int) -> int:
    """Return the price of tokens in micro-dollars, rounded up."""
    return -(-(input_tokens * price_in + output_tokens * price_out) // MILLION)
