"""The comparison of granted actions with the calls that tests make."""

import json

import pytest

from tests.support import grants
from tests.support.environment import VALUES
from tests.support.grants import Use
from tests.support.template import FUNCTIONS

TABLE = str(VALUES.refs["ChatroomsTable"])


def test_a_grant_that_no_test_uses_is_reported() -> None:
    uses = {Use(function, "", "") for function in FUNCTIONS} | grants.list_grants()
    assert grants.list_unused(uses - grants.list_polling()) == [], "Lambda itself polls queues"
    assert grants.list_unused(uses - {Use("ChatroomGet", "dynamodb:Query", "MessagesTable")}) == [
        "ChatroomGet: no integration test uses its grant of dynamodb:Query on MessagesTable"
    ]


def test_a_function_that_no_test_invokes_is_reported() -> None:
    uses = {use for use in grants.list_grants() if use.function != "DocsPage"}
    uses |= {Use(function, "", "") for function in FUNCTIONS if function != "DocsPage"}
    assert grants.list_unused(uses) == ["DocsPage: no integration test invokes it"]


@pytest.mark.parametrize(
    ("call", "request_body", "use"),
    [
        ("dynamodb.GetItem", {"TableName": TABLE}, ("dynamodb:GetItem", "ChatroomsTable")),
        (
            "dynamodb.Query",
            {"TableName": TABLE, "IndexName": "by-activity"},
            ("dynamodb:Query", "ChatroomsTable/index/by-activity"),
        ),
        (
            "dynamodb.TransactWriteItems",
            {"TransactItems": [{"ConditionCheck": {"TableName": TABLE}}]},
            ("dynamodb:ConditionCheckItem", "ChatroomsTable"),
        ),
        (
            "dynamodb.BatchGetItem",
            {"RequestItems": {TABLE: {}}},
            ("dynamodb:BatchGetItem", "ChatroomsTable"),
        ),
        (
            "ssm.GetParameter",
            {"Name": "/geminichat/x/signing-keys"},
            ("ssm:GetParameter", "signing-keys"),
        ),
        ("sns.Publish", {}, ("sns:Publish", grants.ANY)),
        ("s3.UploadPart", {}, ("s3:PutObject", "ExportsBucket/*")),
        ("s3.ListObjectsV2", {}, ("s3:ListBucket", "ExportsBucket")),
        ("execute-api.DeleteConnection", {}, (grants.CONNECTIONS, "DELETE")),
    ],
)
def test_an_aws_call_is_read_as_the_permission_that_it_requires(
    call: str, request_body: dict[str, object], use: tuple[str, str]
) -> None:
    url = f"http://s3.example/{VALUES.refs['ExportsBucket']}/u_1/e_1.zip"
    assert list(grants.uses(call, json.dumps(request_body).encode(), url)) == [use]
