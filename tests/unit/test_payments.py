"""Requests to Stripe: lists that are read to the last page, and ids that are escaped in a path."""

from types import SimpleNamespace
from typing import Any

import pytest

from geminichat.clients import payments


class _Pages:
    """A Stripe client with lists of `length` items, served in pages."""

    def __init__(self, length: int) -> None:
        self.items = [{"id": f"sub_{number}"} for number in range(length)]
        self.asked: list[dict[str, Any]] = []

    def raw_request(self, method: str, path: str, **asked: Any) -> Any:
        assert (method, path) == ("get", "/v1/subscriptions")
        self.asked.append(asked)
        ids = [item["id"] for item in self.items]
        start = ids.index(asked["starting_after"]) + 1 if "starting_after" in asked else 0
        page = self.items[start : start + asked["limit"]]
        more = start + asked["limit"] < len(self.items)
        return SimpleNamespace(data={"data": page, "has_more": more})


@pytest.mark.parametrize(("length", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2), (250, 3)])
def test_a_stripe_list_is_read_to_the_end_in_pages_of_a_hundred(length: int, pages: int) -> None:
    client: Any = _Pages(length)
    found = list(payments._get_all(client, "/v1/subscriptions", {"status": "all"}))
    assert found == client.items
    assert len(client.asked) == pages
    assert all(asked["limit"] == 100 and asked["status"] == "all" for asked in client.asked)


def test_all_subscriptions_of_a_customer_are_read_however_many_have_ended() -> None:
    client: Any = _Pages(250)
    assert payments._list_subscriptions(client, "cus_1") == client.items


def test_no_page_is_requested_before_it_is_needed() -> None:
    client: Any = _Pages(250)
    next(payments._get_all(client, "/v1/subscriptions", {}))
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (("/v1/customers", "cus_1"), "/v1/customers/cus_1"),
        (("/v1/checkout/sessions", "cs_1", "expire"), "/v1/checkout/sessions/cs_1/expire"),
        (("/v1/customers", "../subscriptions"), "/v1/customers/..%2Fsubscriptions"),
        (("/v1/customers", "cus_1?expand=x#y"), "/v1/customers/cus_1%3Fexpand%3Dx%23y"),
        (("/v1/customers", "é"), "/v1/customers/%C3%A9"),
    ],
)
def test_an_id_is_escaped_in_a_path(parts: tuple[str, ...], path: str) -> None:
    assert payments._path(*parts) == path
