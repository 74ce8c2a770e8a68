"""The harness itself: a request finds its handler, and the services behind it answer."""

from datetime import UTC, datetime

import boto3

from geminichat import config
from geminichat.access_tokens import issue
from geminichat.domain import ids
from geminichat.domain.sessions import Claims
from tests.support.lambdas import Api, Poller
from tests.support.template import QUEUES, TABLES, Values


def test_health_answers_without_a_dependency(api: Api) -> None:
    reply = api.get("/health")
    assert reply.status == 200
    assert reply.data["status"] == "ok"
    assert reply.headers["x-request-id"]


def test_every_dependency_is_there(api: Api) -> None:
    reply = api.get("/health?deep=1")
    assert (reply.status, set(reply.data["dependencies"].values())) == (200, {"ok"})


def test_an_unknown_path_is_the_gateways_404(api: Api) -> None:
    assert api.get("/nowhere").status == 404


def test_every_table_and_queue_of_the_template_is_there(values: Values) -> None:
    tables = boto3.client("dynamodb").list_tables()["TableNames"]
    assert set(tables) == {values.refs[table] for table in TABLES}
    queues = boto3.client("sqs").list_queues()["QueueUrls"]
    assert set(queues) == {values.refs[queue] for queue in QUEUES}


def test_a_prompt_goes_all_the_way(api: Api, worker: Poller) -> None:
    keys = config.signing_keys()
    claims = Claims(ids.new("u"), ids.new("s"))
    token = issue(claims, keys.current, keys.keys[keys.current], datetime.now(UTC))

    room = api.post("/chatroom", {}, token=token).data["id"]
    sent = api.post(f"/chatroom/{room}/message", {"content": "hello"}, token=token)
    assert (sent.status, sent.data["status"]) == (202, "queued")
    assert worker.poll().failed == []

    prompt = api.get(f"/chatroom/{room}/message/{sent.data['messageId']}", token=token).data
    assert prompt["status"] == "answered"
    assert "hello" in prompt["reply"]["content"]
