"""Prompts on the deployed stack: many in parallel, and some while Gemini fails."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

from tests.support.deployed import RunningStack
from tests.support.parallel import wait_until
from tests.support.person import Person
from tests.support.template import TEMPLATE


def make_pro(stack: RunningStack, user: Person) -> None:
    """Store the pro plan for a user in the table, without Stripe."""
    stack.aws("dynamodb").update_item(
        TableName=stack.description.tables["SubscriptionsTable"],
        Key={"user_id": {"S": user.id}},
        UpdateExpression="SET pro_until = :until",
        ExpressionAttributeValues={":until": {"S": "2999-01-01T00:00:00.000Z"}},
    )


def test_twenty_parallel_prompts_to_twenty_rooms_are_each_answered_once(
    stack: RunningStack,
) -> None:
    users = [stack.new_proven_user() for _ in range(10)]  # each may have three prompts in flight
    rooms = [(user, user.open_room(f"Room {n}")) for user in users for n in range(2)]

    def send(place: int) -> str:
        user, room = rooms[place]
        return user.ask(room, f"Prompt {place}")

    with ThreadPoolExecutor(20) as pool:
        sent = list(pool.map(send, range(20)))

    for place, ((user, room), message_id) in enumerate(zip(rooms, sent, strict=True)):
        assert user.wait(room, message_id)["status"] == "answered"
        messages = user.page(room)
        assert [message["sender"] for message in messages] == ["user", "ai"]
        assert f"Prompt {place} (turn 1)" in messages[1]["content"]
    asked = [request["contents"][-1]["parts"][0]["text"] for request in stack.gemini.requests()]
    assert sorted(asked) == sorted(f"Prompt {place}" for place in range(20))


def test_parallel_prompts_to_one_room_are_each_answered_once_and_in_order(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    make_pro(stack, user)
    room = user.open_room("One room")
    many = int(TEMPLATE["Parameters"]["ProInFlight"]["Default"])

    with ThreadPoolExecutor(many) as pool:
        sent = list(pool.map(lambda n: user.ask(room, f"Prompt {n}"), range(many)))

    for message_id in sent:
        assert user.wait(room, message_id)["status"] == "answered"
    messages = user.page(room)
    assert [message["sender"] for message in messages] == ["user", "ai"] * many
    for prompt, reply in zip(messages[::2], messages[1::2], strict=True):
        assert reply["replyTo"] == prompt["id"]
        assert reply["content"].startswith(f"You said: {prompt['content']} (turn ")
    asked = [request["contents"][-1]["parts"][0]["text"] for request in stack.gemini.requests()]
    by_place = sorted(messages[::2], key=lambda message: int(message["id"].rsplit("_", 1)[1]))
    in_queue = [message["content"] for message in by_place]
    assert len(asked) == len(set(asked)) == many
    answered = [message["createdAt"] for message in messages[1::2]]
    order = [content for _, content in sorted(zip(answered, in_queue, strict=True))]
    assert asked == order, "the replies were stored in another order than Gemini was asked"


def test_a_room_without_a_title_gets_one_after_its_first_reply(stack: RunningStack) -> None:
    user = stack.new_user()
    room = user.open_room()
    user.wait(room, user.ask(room, "What is a queue good for?"))

    def title() -> str:
        return str(user.get(f"/chatroom/{room}").data["title"])

    wait_until(lambda: title() != "New Chat", seconds=60, every=0.25)
    assert title() in ("What is a queue good for?", "Chat about What is a")
    [asked] = [one for one in stack.gemini.requests() if "Title" in one["systemInstruction"]]
    assert asked["generationConfig"] == {"maxOutputTokens": 24}


def test_a_prompt_is_retried_with_growing_pauses_while_gemini_answers_503(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Busy")
    stack.gemini.fault("error", status=503, match="Are you there?", times=2)

    message_id = user.ask(room, "Are you there?")

    assert user.wait(room, message_id)["status"] == "answered"
    asked = [request["time"] for request in stack.gemini.requests()]
    assert len(asked) == 3
    first, second = (later - earlier for earlier, later in pairwise(asked))
    assert first >= 1
    assert second >= 2


def test_a_prompt_fails_and_becomes_a_dead_letter_if_gemini_answers_403(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Refused")
    stack.gemini.fault("error", status=403, match="May I?", times="always")
    failed = user.wait(room, user.ask(room, "May I?"))
    assert (failed["status"], failed["error"]["code"]) == ("failed", "service-refused")

    # The sweep hides dead letters while it reads them.
    wait_until(lambda: room in stack.rooms_of_dead_letters(), seconds=45, every=0.2)
    named = f"geminichat-{stack.description.stage}-dead-letters"
    [alarm] = stack.aws("cloudwatch").describe_alarms(AlarmNames=[named])["MetricAlarms"]
    sweep = stack.description.functions["PromptsSweep"]
    stack.aws("lambda").invoke(FunctionName=sweep, Payload=b"{}")
    metric = alarm["MetricName"]
    counted = [max(line[metric]) for line in stack.read_log() if metric in line]
    assert max(counted) >= alarm["Threshold"], "the alarm for dead letters would not fire"


@contextmanager
def without_grant(stack: RunningStack, function: str, action: str) -> Iterator[None]:
    """Remove one action from the role of a deployed function during the block."""
    iam = stack.aws("iam")
    name = stack.description.functions[function]
    role = stack.aws("lambda").get_function_configuration(FunctionName=name)["Role"].split("/")[-1]
    stripped = {}
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        if action in json.dumps(document):
            stripped[policy] = document
            rest = [
                statement
                for statement in document["Statement"]
                if action not in json.dumps(statement["Action"])
            ]
            if rest:
                left = json.dumps(document | {"Statement": rest})
                iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=left)
            else:
                iam.delete_role_policy(RoleName=role, PolicyName=policy)
    assert stripped, f"{function} has no grant of {action}"
    try:
        yield
    finally:
        for policy, document in stripped.items():
            iam.put_role_policy(
                RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document)
            )


def test_a_function_without_a_grant_fails_with_access_denied(stack: RunningStack) -> None:
    user = stack.new_user()
    with without_grant(stack, "ChatroomCreate", "dynamodb:PutItem"):
        refused = stack.http.post("/chatroom", json={}, headers=user.headers)
        assert refused.status_code == 500
        assert "AccessDenied" not in refused.text
        logged = json.dumps(stack.read_log("ChatroomCreate"))
        assert refused.headers["x-request-id"] in logged
        assert "AccessDenied" in logged
        assert "dynamodb:PutItem" in logged
    assert stack.http.post("/chatroom", json={}, headers=user.headers).status_code == 201
