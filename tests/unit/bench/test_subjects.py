"""The bench has a request for each function and a sample item for each table."""

from tests.bench.subjects import ASKS, settings
from tests.support.template import FUNCTIONS, TABLES


def test_every_function_has_a_request_in_the_bench() -> None:
    assert set(ASKS) == set(FUNCTIONS)


def test_every_table_has_a_sample_item_in_the_bench() -> None:
    assert set(settings("http://127.0.0.1:1").samples) == set(TABLES)
