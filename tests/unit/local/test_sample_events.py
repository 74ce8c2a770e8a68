"""Every function has its sample event, and an event says what the template says."""

import json
from collections.abc import Mapping

import pytest

from infra.local.cloud import sample_events
from tests.support.template import FUNCTIONS, events_of, folder_of, routes_of

NOTHING: Mapping[str, str] = {}

every_function = pytest.mark.parametrize("function", FUNCTIONS)


def test_every_function_has_its_event_and_every_event_its_function() -> None:
    files = {path.name for path in sample_events.EVENTS.iterdir()}
    assert files == {f"{folder_of(function)}.json" for function in FUNCTIONS}


@every_function
def test_an_event_is_of_the_functions_own_kind(function: str) -> None:
    event = json.loads(sample_events.path_of(function).read_text())
    for route in routes_of(function):
        method, path = route.split(" ")
        assert event["version"] == "2.0"
        assert event["routeKey"] == route
        assert event["rawPath"] == path.format(**event.get("pathParameters", {}))
        http = event["requestContext"]["http"]
        assert (http["method"], http["path"]) == (method, event["rawPath"])
    for _ in events_of(function, "SQS"):
        assert {record["eventSource"] for record in event["Records"]} == {"aws:sqs"}
    for _ in events_of(function, "ScheduleV2"):
        assert event == {}, "a schedule says nothing"


@every_function
def test_what_an_event_leaves_open_can_be_filled_in(function: str) -> None:
    asked = set(sample_events.PLACEHOLDER.findall(sample_events.path_of(function).read_text()))
    assert asked <= sample_events.Guest("http://127.0.0.1:1").names


def test_values_are_put_in_and_the_request_is_made_now() -> None:
    text = '{"headers": {"authorization": "Bearer {{token}}"}, "requestContext": {"timeEpoch": 0}}'
    assert sample_events.fill_in(text, {"token": "abc"}.__getitem__, now=1.5) == {
        "headers": {"authorization": "Bearer abc"},
        "requestContext": {"timeEpoch": 1500},
    }


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        sample_events.fill_in('{"a": "{{nonsense}}"}', NOTHING.__getitem__, now=0)


@pytest.mark.parametrize("text", ["[]", "", "{"])
def test_what_is_no_object_is_no_event(text: str) -> None:
    with pytest.raises(ValueError, match=r"object|Expecting"):
        sample_events.fill_in(text, NOTHING.__getitem__, now=0)
