"""The notices that an account's email address and mobile number receive."""

import pytest

from geminichat.domain import accounts
from geminichat.domain.identities import Identity

EMAIL, MOBILE = Identity("email", "ann@example.com"), Identity("mobile", "+15550100")


@pytest.mark.parametrize(
    ("removed", "sentence"),
    [
        ([], ""),
        ([EMAIL], " The email address added in the last 7 days was removed: add it again."),
        (
            [EMAIL, MOBILE],
            (
                " The email address and mobile number added in the last 7 days were removed: "
                "add them again."
            ),
        ),
    ],
    ids=["none", "one", "both"],
)
def test_the_notice_of_a_password_reset_names_what_was_removed(
    removed: list[Identity], sentence: str
) -> None:
    assert accounts.reset_notice(removed) == (
        "Your Gemini Chat password was reset with a code. If this was not you, reset it again now."
        + sentence
    )
