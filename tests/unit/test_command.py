"""The exit status and the message of a command on a stage."""

import subprocess
import sys
from subprocess import PIPE

import pytest
from botocore.exceptions import NoCredentialsError

from infra.command import CommandError
from infra.paths import ROOT
from infra.stages.command import command, parser


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (None, 0, ""),
        (CommandError("There is no stage qa."), 1, "There is no stage qa.\n"),
        (NoCredentialsError(), 1, "Unable to locate credentials\n"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
        (EOFError(), 130, "\nStopped.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_expected_error_prints_one_line_and_sets_the_exit_status(
    error: BaseException | None, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main(_arguments: list[str]) -> None:
        if error:
            raise error

    assert main([]) == status
    assert capsys.readouterr().err == message


def test_an_unexpected_exception_is_not_hidden() -> None:
    @command
    def main(_arguments: list[str]) -> None:
        raise LookupError("bug")

    with pytest.raises(LookupError):
        main([])


def test_an_output_that_is_closed_early_causes_no_traceback() -> None:
    code = "command(lambda _: print('x' * 200_000))([])"
    script = f"import sys; from infra.stages.command import command; sys.exit({code})"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=PIPE, stderr=PIPE
    ) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_only_commands_for_the_local_stage_have_a_data_folder() -> None:
    options = parser("reconcile", None, local=True).parse_args(["local", "--data-folder", "here"])
    assert (options.stage, str(options.data_folder)) == ("local", "here")
    with pytest.raises(SystemExit):
        parser("deploy", None).parse_args(["dev", "--data-folder", "here"])
