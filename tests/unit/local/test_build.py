"""A build is made when anything it reads has changed, and its failure is told in one line."""

from infra.local.cloud.build import LONGEST_ERROR, what_matters


def test_what_follows_the_last_error_matters() -> None:
    output = (
        "Building codeuri: functions/health_check\n"
        "Error: this was mended on the way\n"
        "\n"
        "Build Failed\n"
        'Error: Failed to parse template: found ":"\n'
        '  in "template.yaml", line 124, column 3\n'
    )
    assert what_matters(output) == (
        'Failed to parse template: found ":" in "template.yaml", line 124, column 3'
    )


def test_output_without_an_error_is_shown_itself_cut_to_a_line() -> None:
    assert what_matters("Traceback\nValueError: x\n") == "Traceback ValueError: x"
    assert what_matters("") == "it said nothing"
    assert len(what_matters("Error: " + "word " * 1000)) <= LONGEST_ERROR
