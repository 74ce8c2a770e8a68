"""`make admin` on the running stack, as the root user and as IAM users with limited rights."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import ClientError

from geminichat.runtime import aws_client
from infra.command import CommandError
from infra.stages import admin
from infra.stages.stage import Stage
from tests.support import operators
from tests.support.deployed import RunningStack
from tests.support.person import PASSWORD, Person, check_problem
from tests.support.template import FUNCTIONS

LOCAL = Stage("local", "geminichat-local", {"Stage": "local"})
ADMINISTRATION = [name for name in FUNCTIONS if name.startswith("Admin")]


def run(stack: RunningStack, *arguments: str) -> str:
    """Run `make admin`, check that it succeeds, and return its output."""
    done = stack.run("admin", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_make_admin_bans_a_user_and_records_the_operator(
    stack: RunningStack,
) -> None:
    ann = stack.new_proven_user()
    email = ann.identity.value
    shown = run(stack, "show", email)
    assert shown.startswith("Stage local: stack ")
    assert f"user             {ann.id}\n" in shown
    assert f"email            {email} (verified)\n" in shown
    assert "plan             basic\n" in shown

    said = run(stack, "ban", email, "--reason", "spam, ticket 41", "--dry-run")
    assert said.endswith(
        f"{ann.id} is banned: no login, no prompt.\nThis was a dry run. Nothing was changed.\n"
    )
    room = ann.open_room()
    ann.wait(room, ann.ask(room))
    run(stack, "ban", email, "--reason", "spam, ticket 41")
    check_problem(ann.send(room, "Am I banned?"), 403, "account-suspended")
    assert not [one for one in stack.gemini.requests() if "Am I banned?" in json.dumps(one)]
    twice = stack.run("admin", "ban", email, "--reason", "spam")
    assert (twice.returncode, twice.stdout.count("\n")) == (1, 1)
    assert twice.stderr.startswith(f"{ann.id} has been banned since ")

    run(stack, "unban", ann.id, "--reason", "a mistake")
    acts = json.loads(stack.run("admin", "audit", "--json", ann.id).stdout)
    assert [(one["act"], one["reason"]) for one in acts] == [
        ("ban", "spam, ticket 41"),
        ("unban", "a mistake"),
    ]
    assert {one["operator"] for one in acts} == {operators.ROOT}
    by_day = run(stack, "audit", "--day", f"{datetime.now(UTC):%Y-%m-%d}")
    assert f"unban {ann.id}  by {operators.ROOT}: a mistake\n" in by_day


def test_make_admin_grants_pro_and_gives_prompts_back(stack: RunningStack) -> None:
    ann = stack.new_proven_user()
    run(stack, "grant", ann.id, "--until", "2035-12-31", "--reason", "a gift")
    status = ann.status()
    assert (status["plan"], status["grantedUntil"]) == ("pro", "2035-12-31T23:59:59.999Z")
    room = ann.open_room()
    for _ in range(5):
        ann.wait(room, ann.ask(room))
    run(stack, "revoke", ann.id, "--reason", "ticket 42")
    check_problem(ann.send(room), 429, "quota-exceeded")
    run(stack, "give-back", ann.id, "--prompts", "1", "--reason", "ticket 43")
    assert ann.send(room).status == 202


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["show", "nobody@example.com"], 1, "No user was found for nobody@example.com.\n"),
        (["show", "cus_none"], 1, "No user was found for cus_none.\n"),
        (["ban", "u_1"], 2, "the following arguments are required: --reason\n"),
        (["grant", "u_1", "--reason", "x", "--until", "soon"], 2, "'soon' is not a date such as "),
        (["promote", "u_1"], 2, "invalid choice: 'promote'"),
    ],
)
def test_a_wrong_argument_of_make_admin_is_an_error_without_a_traceback(
    stack: RunningStack, arguments: list[str], status: int, said: str
) -> None:
    done = stack.run("admin", *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


class IamUser:
    """An IAM user and its access key."""

    def __init__(self, stack: RunningStack, name: str) -> None:
        """Create the user without a policy."""
        self._iam, self.name = stack.aws("iam"), name
        self.arn = self._iam.create_user(UserName=name)["User"]["Arn"]
        self.key = self._iam.create_access_key(UserName=name)["AccessKey"]

    def attach(self, policy: str) -> None:
        """Give the user a policy."""
        self._iam.attach_user_policy(UserName=self.name, PolicyArn=policy)

    def delete(self) -> None:
        """Delete the user."""
        for one in self._iam.list_attached_user_policies(UserName=self.name)["AttachedPolicies"]:
            self._iam.detach_user_policy(UserName=self.name, PolicyArn=one["PolicyArn"])
        self._iam.delete_access_key(UserName=self.name, AccessKeyId=self.key["AccessKeyId"])
        self._iam.delete_user(UserName=self.name)


@pytest.fixture
def iam_user(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[IamUser]:
    """An IAM user without a policy. This process calls AWS with the user's access key."""
    made = IamUser(stack, "support-ann")
    for name, value in stack.description.aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made.key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made.key["SecretAccessKey"])
    boto3.setup_default_session()  # forgets the credentials of an earlier session
    aws_client.endpoint.cache_clear()
    yield made
    boto3.setup_default_session()
    aws_client.endpoint.cache_clear()
    made.delete()


def invoke(stack: RunningStack, function: str, alias: str = ":live") -> str:
    """Invoke a function; return the code of AWS's error, or "" if there is no error."""
    name = f"{stack.description.functions[function]}{alias}"
    try:
        boto3.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_the_support_policy_allows_the_functions_of_make_admin_and_nothing_else(
    stack: RunningStack, iam_user: IamUser
) -> None:
    denied = "AccessDeniedException"
    assert {name: invoke(stack, name) for name in ADMINISTRATION} == dict.fromkeys(
        ADMINISTRATION, denied
    )
    with pytest.raises(CommandError, match=r"may not invoke .* Ask for the stage's policy Support"):
        admin.get_user_id(LOCAL, "ann@example.com")

    iam_user.attach(stack.description.outputs["SupportPolicy"])
    assert {name: invoke(stack, name) for name in ADMINISTRATION} == dict.fromkeys(
        ADMINISTRATION, ""
    )
    assert invoke(stack, "AdminChange", alias="") == denied, (
        "the policy allows a version without the alias"
    )
    assert {invoke(stack, name) for name in ("UserPurge", "ChatroomGet")} == {denied}
    with pytest.raises(ClientError, match="AccessDenied"):
        boto3.client("dynamodb").scan(TableName=stack.description.tables["UsersTable"])


def test_an_act_is_recorded_with_the_iam_user_who_signed_the_call(
    stack: RunningStack, iam_user: IamUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann: Person = stack.new_user()
    iam_user.attach(stack.description.outputs["SupportPolicy"])
    act = operators.new_act("end-sessions", ann.id)
    assert admin.perform(LOCAL, admin.CHANGE, act)["doneBefore"] is False
    [recorded] = admin.ask(LOCAL, {"ask": "audit", "userId": ann.id})["acts"]
    assert recorded["operator"] == iam_user.arn
    assert ann.me().status == 401
    assert ann.log_in(PASSWORD).status == 200

    # A proof is valid for one act on one stage only.
    other = json.dumps(operators.new_act("ban", ann.id))
    for proof in (admin.prove(json.dumps(act), "local"), admin.prove(other, "prod")):
        with pytest.raises(CommandError, match="could not be verified"):
            admin.invoke(LOCAL, admin.CHANGE, {"request": other, "proof": proof})
    stolen = admin.prove(other, "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    forged = admin.prove(other, "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", iam_user.key["SecretAccessKey"])
    with pytest.raises(CommandError, match="could not be verified"):
        admin.invoke(LOCAL, admin.CHANGE, {"request": other, "proof": forged})
    assert ann.me().status == 200
    assert admin.invoke(LOCAL, admin.CHANGE, {"request": other, "proof": stolen})
    assert ann.me().status in (401, 403)
