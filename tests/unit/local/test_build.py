"""The error in a tool's output is shown as one line."""

from infra.local.cloud.build import LONGEST_ERROR, error_in


def test_the_shown_error_is_the_text_after_the_last_error_marker() -> None:
    output = (
        "Building codeuri: functions/health_check\n"
        "Error: this was retried\n"
        "\n"
        "Build Failed\n"
        'Error: Failed to parse template: found ":"\n'
        '  in "template.yaml", line 124, column 3\n'
    )
    assert error_in(output) == (
        'Failed to parse template: found ":" in "template.yaml", line 124, column 3'
    )


def test_output_without_an_error_marker_is_shown_as_one_line() -> None:
    assert error_in("Traceback\nValueError: x\n") == "Traceback ValueError: x"
    assert error_in("") == "it printed nothing"
    assert len(error_in("Error: " + "word " * 1000)) <= LONGEST_ERROR
