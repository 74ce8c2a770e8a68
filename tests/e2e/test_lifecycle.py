"""A stack is deployed again without a change, updated with its data kept, and deleted."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud import deploy
from tests.support.deployed import RunningStack, run_system


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that only this module uses and deletes."""
    with run_system(tmp_path_factory.mktemp("own") / "home", "--gemini-delay", "0") as found:
        yield found


def read_parameters(stack: RunningStack) -> dict[str, str]:
    """Return the parameters of the deployed stack."""
    [found] = stack.aws("cloudformation").describe_stacks(StackName=deploy.STACK)["Stacks"]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}
    return {name: value for name, value in given.items() if value}


def sam_deploy(stack: RunningStack, parameters: Mapping[str, str], log: Path) -> str:
    """Deploy the build, and return the output of `sam deploy`."""
    cloud = deploy.Cloud(stack.description.aws)
    asyncio.run(deploy.deploy(cloud, parameters, log))
    return log.read_text()


def list_resources(stack: RunningStack) -> dict[str, Any]:
    """Return a dict from logical id to the resource's type and physical name."""
    pages = stack.aws("cloudformation").get_paginator("list_stack_resources")
    return {
        one["LogicalResourceId"]: (one["ResourceType"], one["PhysicalResourceId"])
        for page in pages.paginate(StackName=deploy.STACK)
        for one in page["StackResourceSummaries"]
    }


@pytest.mark.timeout(300)
def test_a_stack_can_be_deployed_twice_and_updated_and_deleted(
    own: RunningStack, tmp_path: Path
) -> None:
    user = own.new_user()
    room = user.open_room("Kept")
    message = user.ask(room, "Remember me")
    assert user.wait(room, message)["status"] == "answered"
    parameters, before = read_parameters(own), list_resources(own)

    output = sam_deploy(own, parameters, tmp_path / "again.log")
    assert "No changes to deploy" in output
    assert list_resources(own) == before

    changed = parameters | {"HistoryTurns": "3"}
    assert "UPDATE_COMPLETE" in sam_deploy(own, changed, tmp_path / "update.log")
    after = list_resources(own)
    kept = {name: made for name, made in before.items() if made[0] != "AWS::Lambda::Version"}
    assert {name: after.get(name) for name in kept} == kept, "an update changed more than code"
    assert read_settings(own, "HISTORY_TURNS") == {"3"}
    assert user.log_in().status == 200
    [prompt, reply] = user.page(room)
    assert (prompt["content"], prompt["status"]) == ("Remember me", "answered")
    assert reply["replyTo"] == message

    delete(own)
    tables = {name for kind, name in after.values() if kind == "AWS::DynamoDB::Table"}
    assert list_remaining_resources(own) <= tables, "resources other than tables are left"
    assert "CREATE_COMPLETE" in sam_deploy(own, changed, tmp_path / "second.log")


def read_settings(stack: RunningStack, variable: str) -> set[str]:
    """Return all values that the deployed functions have for an environment variable."""
    variables = [stack.live_settings(name) for name in stack.description.functions]
    return {each[variable] for each in variables if variable in each}


def delete(stack: RunningStack) -> None:
    """Delete the stack, as `aws cloudformation delete-stack` does."""
    stacks = stack.aws("cloudformation")
    stacks.delete_stack(StackName=deploy.STACK)
    stacks.get_waiter("stack_delete_complete").wait(
        StackName=deploy.STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def list_remaining_resources(stack: RunningStack) -> set[str]:
    """Return the names of all resources except the deployment's bucket and the secrets."""
    listed: list[tuple[str, str, str, str]] = [
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("lambda", "list_layers", "Layers", "LayerName"),
        ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        ("iam", "list_roles", "Roles", "RoleName"),
        ("sns", "list_topics", "Topics", "TopicArn"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
        ("scheduler", "list_schedules", "Schedules", "Name"),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        ("apigatewayv2", "get_apis", "Items", "ApiId"),
    ]
    found = {
        one[name]
        for service, call, many, name in listed
        for one in getattr(stack.aws(service), call)().get(many, [])
    }
    found |= set(stack.aws("dynamodb").list_tables()["TableNames"])
    found |= set(stack.aws("sqs").list_queues().get("QueueUrls", []))
    policies = stack.aws("iam").list_policies(Scope="Local")["Policies"]
    return found | {policy["PolicyName"] for policy in policies}
