"""The parameters that `make up` takes, and the errors for invalid parameters."""

import pytest

from infra.command import CommandError
from infra.local.parameters import OWN, parse
from infra.template import load


def test_parameters_are_split_like_the_words_of_a_shell_command() -> None:
    text = "SignupsPerAddress=20 FrontendUrl=https://x ModelsPatch='{\"aliases\": {}}'"
    assert parse(text) == {
        "SignupsPerAddress": "20",
        "FrontendUrl": "https://x",
        "ModelsPatch": '{"aliases": {}}',
    }
    assert parse("") == {}
    assert parse("FrontendUrl=") == {"FrontendUrl": ""}


UNKNOWN = "template.yaml has no parameter"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "SignUpPerAddress=1",
            f"{UNKNOWN} SignUpPerAddress. Did you mean SignupsPerAddress or CodesPerAddress?",
        ),
        ("Zzz=1", f"{UNKNOWN} Zzz. See its section Parameters."),
        ("Titles", 'Titles has no value: PARAMETERS="Titles=…".'),
        ("Stage=dev", "Stage cannot be set: `make up` sets it itself."),
        ("Titles=no", "Titles=no is not valid: the value must be one of true, false."),
        ("FrontendUrl=x", "FrontendUrl=x is not valid: the value must match (https?://.+)?."),
        ("GraceDays=x", "GraceDays=x is not valid: the value must be a number."),
        ("GraceDays=61", "GraceDays=61 is not valid: the value must be at most 60."),
        ("MaxAttempts=0", "MaxAttempts=0 is not valid: the value must be at least 1."),
        ("Titles='true", "PARAMETERS cannot be read: No closing quotation."),
    ],
)
def test_a_value_that_the_template_does_not_accept_is_an_error(text: str, says: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse(text)
    assert str(refused.value) == says


def test_a_parameter_value_that_is_too_long_is_an_error() -> None:
    with pytest.raises(CommandError, match="the value may have 800 characters"):
        parse("ModelsPatch={" + "x" * 800 + "}")


def test_make_up_sets_only_parameters_that_exist_in_the_template() -> None:
    assert set(OWN) <= set(load()["Parameters"])
