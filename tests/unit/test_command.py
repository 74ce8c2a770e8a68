"""How a command on a stage ends, whatever it meets."""

import pytest
from botocore.exceptions import NoCredentialsError

from infra.paths import LocalError
from infra.stages.command import command, parser
from infra.stages.stage import StageError


@pytest.mark.parametrize(
    ("met", "status", "says"),
    [
        (None, 0, ""),
        (StageError("There is no stage qa."), 1, "There is no stage qa.\n"),
        (LocalError("Nothing is running."), 1, "Nothing is running.\n"),
        (NoCredentialsError(), 1, "Unable to locate credentials\n"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
        (EOFError(), 130, "\nStopped.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_command_ends_with_a_status_and_a_line(
    met: BaseException | None, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main(_arguments: list[str]) -> None:
        if met:
            raise met

    assert main([]) == status
    assert capsys.readouterr().err == says


def test_a_mistake_of_ours_is_not_hidden() -> None:
    @command
    def main(_arguments: list[str]) -> None:
        raise LookupError("ours")

    with pytest.raises(LookupError):
        main([])


def test_only_a_command_that_knows_the_local_stage_takes_a_home() -> None:
    told = parser("redrive", None, local=True).parse_args(["local", "--home", "here"])
    assert (told.stage, str(told.home)) == ("local", "here")
    with pytest.raises(SystemExit):
        parser("deploy", None).parse_args(["dev", "--home", "here"])
