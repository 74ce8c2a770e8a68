"""A stage's stack in CloudFormation: its state, its failures, and the protection of its data.

CloudFormation replaces a table if its key or a local index changes, and the functions would start
with an empty table. Some changes also replace a queue or a bucket.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from infra.command import CommandError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

HOLD_DATA = ["AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue"]
"""The types of resources with data, which a deployment must not replace or remove."""

FIXED = ("KeySchema", "LocalSecondaryIndexes")
"""Properties that a table cannot change: for a new value, CloudFormation replaces the table."""

STARTED = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")
STUCK = ("DELETE_FAILED", "ROLLBACK_FAILED", "UPDATE_ROLLBACK_FAILED")
"""States of a stack that a person must resolve."""


def status(stacks: "CloudFormationClient", name: str) -> str | None:
    """Return the state of a stack; None if it does not exist, or has only a change set."""
    try:
        [stack] = stacks.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if stack["StackStatus"] == "REVIEW_IN_PROGRESS" else stack["StackStatus"]


def newest_event(stacks: "CloudFormationClient", name: str) -> str:
    """Return the id of a stack's newest event, or "" if there is no stack."""
    if status(stacks, name) is None:
        return ""
    return stacks.describe_stack_events(StackName=name)["StackEvents"][0]["EventId"]


def failure(stacks: "CloudFormationClient", name: str, after: str = "") -> str | None:
    """Return why the last change of a stack failed, or None if the change succeeded.

    With `after`, ignore changes that began before the event with this id.
    """
    failed = None
    for page in stacks.get_paginator("describe_stack_events").paginate(StackName=name):
        for event in page["StackEvents"]:
            state, resource = event["ResourceStatus"], event["LogicalResourceId"]
            if event["EventId"] == after or (resource == name and state in STARTED):
                return failed
            if state.endswith("_FAILED") and resource != name:
                failed = f"{resource}: {event.get('ResourceStatusReason', state)}"
    return failed


def delete_if_creation_failed(stacks: "CloudFormationClient", name: str) -> Iterator[str]:
    """Delete the empty stack that a failed first deployment leaves, and yield each step.

    CloudFormation cannot update such a stack. Raises CommandError for a stack that a person must
    repair.
    """
    state = status(stacks, name)
    if state in STUCK:
        raise CommandError(
            f"The stack {name} is in the state {state} ({failure(stacks, name)}). Resolve this in "
            "CloudFormation's console (Continue update rollback, or Delete), then deploy again."
        )
    if state == "ROLLBACK_COMPLETE":
        yield f"The first deployment of {name} failed: {failure(stacks, name)}"
        yield "All resources of the deployment were deleted. Deleting the empty stack …"
        stacks.delete_stack(StackName=name)
        stacks.get_waiter("stack_delete_complete").wait(StackName=name)


# ── Resources that hold data ──────────────────────────────────────────────────────────────────────


def policy(replaceable: Sequence[str] = ()) -> str:
    """Return the stack policy that protects all resources with data, except `replaceable`."""
    denied = [f"LogicalResourceId/{name}" for name in replaceable]
    every = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}
    forbidden = {
        "Effect": "Deny",
        "Action": ["Update:Replace", "Update:Delete"],
        "Principal": "*",
        **({"NotResource": denied} if denied else {"Resource": "*"}),
        "Condition": {"StringEquals": {"ResourceType": HOLD_DATA}},
    }
    return json.dumps({"Statement": [every, forbidden]}, sort_keys=True)


def protect(stacks: "CloudFormationClient", name: str, replaceable: Sequence[str] = ()) -> None:
    """Set the stack policy unless it is already set: a pipeline has no grant to set it."""
    required = policy(replaceable)
    current = stacks.get_stack_policy(StackName=name).get("StackPolicyBody")
    if current is None or json.loads(current) != json.loads(required):
        stacks.set_stack_policy(StackName=name, StackPolicyBody=required)


def change_sets(stacks: "CloudFormationClient", name: str) -> set[str]:
    """Return the ARNs of a stack's change sets."""
    pages = stacks.get_paginator("list_change_sets").paginate(StackName=name)
    return {found["ChangeSetId"] for page in pages for found in page["Summaries"]}


def refuse_data_loss(
    stacks: "CloudFormationClient", change_set: str, replaceable: Sequence[str] = ()
) -> None:
    """Raise CommandError if a change set replaces or removes data, except in `replaceable`."""
    pages = stacks.get_paginator("describe_change_set").paginate(ChangeSetName=change_set)
    changes = [each["ResourceChange"] for page in pages for each in page["Changes"]]
    found = {name: why for name, why in _losses(changes) if name not in replaceable}
    if found:
        lines = "\n".join(f"  {name}: {why}" for name, why in found.items())
        raise CommandError(
            "Nothing was deployed, because the data in these resources would be lost:\n"
            f"{lines}\n"
            'DEPLOYING.md, "A table that must be replaced", says how to keep the data. '
            f"Then deploy with REPLACE={','.join(found)}"
        )


def _losses(changes: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for change in changes:
        if change["ResourceType"] not in HOLD_DATA:
            continue
        if change["Action"] == "Remove":
            yield change["LogicalResourceId"], "is no longer in the template"
            continue
        targets = [detail["Target"] for detail in change["Details"]]
        names = dict.fromkeys(target.get("Name", target["Attribute"]) for target in targets)
        if change.get("Replacement") == "True" or any(name in FIXED for name in names):
            yield change["LogicalResourceId"], f"is replaced, because of {', '.join(names)}"
