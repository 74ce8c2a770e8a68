"""A users table with few items, because these tests read the whole table."""

import pytest

from geminichat.tables.users import User


@pytest.fixture(scope="module", autouse=True)
def few_users() -> None:
    """Delete the users of earlier modules, because `users_named` reads the whole table."""
    with User.batch_write() as batch:
        for user in User.scan(attributes_to_get=["user_id"]):
            batch.delete(user)
