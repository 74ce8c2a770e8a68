"""Every function has a sample event with the route or the source that the template names."""

import json
import tomllib
from collections.abc import Mapping

import pytest

from infra.local.cloud import sample_events
from tests.support.template import FUNCTIONS, events_of, mappings_of, routes_of

NOTHING: Mapping[str, str] = {}

every_function = pytest.mark.parametrize("function", FUNCTIONS)


def test_every_sample_event_belongs_to_a_function() -> None:
    assert set(tomllib.loads(sample_events.EVENTS.read_text())) <= set(FUNCTIONS)


@every_function
def test_a_sample_event_has_the_route_or_source_of_its_function(function: str) -> None:
    event = json.loads(sample_events.text_of(function))
    for route in routes_of(function):
        method, path = route.split(" ")
        assert event["version"] == "2.0"
        assert event["routeKey"] == route
        assert event["rawPath"] == path.format(**event.get("pathParameters", {}))
        http = event["requestContext"]["http"]
        assert (http["method"], http["path"]) == (method, event["rawPath"])
    for _ in mappings_of(function):
        assert {record["eventSource"] for record in event["Records"]} == {"aws:sqs"}
    for _ in events_of(function, "ScheduleV2"):
        assert event == {}


@every_function
def test_every_placeholder_of_an_event_can_be_filled_in(function: str) -> None:
    asked = set(sample_events.PLACEHOLDER.findall(sample_events.text_of(function)))
    assert asked <= sample_events.Guest("http://127.0.0.1:1").names


def test_placeholders_are_replaced_and_the_request_has_the_current_time() -> None:
    text = '{"headers": {"authorization": "Bearer {{token}}"}, "requestContext": {"timeEpoch": 0}}'
    assert sample_events.fill_in(text, {"token": "abc"}.__getitem__, now=1.5) == {
        "headers": {"authorization": "Bearer abc"},
        "requestContext": {"timeEpoch": 1500},
    }


def test_the_error_names_the_unknown_placeholder() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        sample_events.fill_in('{"a": "{{nonsense}}"}', NOTHING.__getitem__, now=0)


@pytest.mark.parametrize("text", ["[]", "", "{"])
def test_an_event_that_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"object|Expecting"):
        sample_events.fill_in(text, NOTHING.__getitem__, now=0)
