"""MiniStack ignores routes and CORS rules, so `make up` reads them from the processed template."""

from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud.deploy import cors_of, digest, routes_of, select_declared

URI = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"


def operation(function: str) -> dict[str, Any]:
    uri = {"Fn::Sub": f"{URI}${{{function}.Arn}}/invocations"}
    return {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": uri}}


def test_a_route_to_an_alias_has_the_logical_id_of_the_alias() -> None:
    integration = {"uri": {"Fn::Sub": f"{URI}${{ChatroomListAliaslive}}/invocations"}}
    body = {"paths": {"/chatroom": {"get": {"x-amazon-apigateway-integration": integration}}}}
    assert routes_of(body) == {"GET /chatroom": "ChatroomListAliaslive"}


def test_each_route_has_the_logical_id_of_its_function() -> None:
    body = {
        "paths": {
            "/chatroom": {"get": operation("ChatroomList"), "post": operation("ChatroomCreate")},
            "/webhook/{any+}": {"x-amazon-apigateway-any-method": operation("Webhook")},
            "/$default": {"x-amazon-apigateway-any-method": operation("NotFound")},
            "/static": {"options": {"responses": {}}},
        }
    }
    assert routes_of(body) == {
        "GET /chatroom": "ChatroomList",
        "POST /chatroom": "ChatroomCreate",
        "ANY /webhook/{any+}": "Webhook",
        "$default": "NotFound",
    }


@pytest.mark.parametrize("origins", [["http://a", "http://b"], "http://a, http://b"])
def test_cors_rules_get_the_field_names_that_api_gateway_expects(origins: Any) -> None:
    body = {"x-amazon-apigateway-cors": {"allowOrigins": origins, "maxAge": 60}}
    assert cors_of(body) == {"AllowOrigins": ["http://a", "http://b"], "MaxAge": 60}


def test_a_template_without_cors_rules_gives_the_api_no_cors_rules() -> None:
    assert cors_of({"paths": {}}) == {}


def test_parameters_that_the_template_does_not_declare_are_left_out(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Parameters:\n  Stage: {Type: String}\nResources:\n  A: !Ref Stage\n")
    assert select_declared(template, {"Stage": "local", "StripeEndpoint": "x"}) == {
        "Stage": "local"
    }


def test_the_digest_of_a_deployment_changes_with_every_part() -> None:
    assert digest("a", "b") == digest("a", "b")
    assert len({digest("a", "b"), digest("a", "c"), digest("ab"), digest("a", "b", "")}) == 4
