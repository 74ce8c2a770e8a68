"""Log lines as CloudWatch gets them, written in a fresh process."""

import json
from typing import Any

from tests.support.fresh_process import run

CODE = """
from geminichat.runtime import log

def answer():
    log.info("request", route="GET /x", status=200)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("unhandled error", request_id="r-1")

answer()
"""


def lines_of(code: str) -> list[dict[str, Any]]:
    printed = run(code, AWS_LAMBDA_FUNCTION_NAME="geminichat-AuthMe")
    return [json.loads(line) for line in printed.splitlines()]


def test_a_log_line_is_json_with_its_place_in_the_code_and_the_given_fields() -> None:
    line, _ = lines_of(CODE)
    assert line["level"] == "INFO"
    assert line["message"] == "request"
    assert line["function_name"] == "geminichat-AuthMe"
    assert line["location"] == "answer:5"
    assert (line["route"], line["status"]) == ("GET /x", 200)


def test_a_logged_exception_has_its_stack_and_the_given_fields() -> None:
    _, line = lines_of(CODE)
    assert line["level"] == "ERROR"
    assert line["location"] == "answer:9"
    assert line["exception_name"] == "ValueError"
    assert "broken" in line["exception"]
    assert line["request_id"] == "r-1"
