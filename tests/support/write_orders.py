"""Orders of the writes in a transaction; no answer may depend on the order."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from geminichat.tables import table
from geminichat.tables.table import Write

type Order = Callable[[Sequence[Write]], Sequence[Write]]

ORDERS: dict[str, Order] = {
    "as written": list,
    "reversed": lambda writes: list(reversed(writes)),
    "shuffled": lambda writes: random.sample(writes, len(writes)),
}


@contextmanager
def in_order(order: Order) -> Iterator[None]:
    """Put the writes of every transaction into this order while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "order_writes", order)
        yield
