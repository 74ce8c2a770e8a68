"""The test environment: requests reach their handlers, and the services answer."""

import boto3

from tests.support.lambdas import Api, Poller
from tests.support.person import Person
from tests.support.template import QUEUES, TABLES, Values


def test_health_answers_without_a_dependency(api: Api) -> None:
    reply = api.get("/health")
    assert reply.status == 200
    assert reply.data["status"] == "ok"
    assert reply.headers["x-request-id"]


def test_every_dependency_answers(api: Api) -> None:
    reply = api.get("/health?deep=1")
    assert (reply.status, set(reply.data["dependencies"].values())) == (200, {"ok"})


def test_an_unknown_path_gets_the_gateways_404(api: Api) -> None:
    assert api.get("/nowhere").status == 404


def test_every_table_and_queue_of_the_template_exists(values: Values) -> None:
    tables = boto3.client("dynamodb").list_tables()["TableNames"]
    assert {values.refs[table] for table in TABLES} <= set(tables)
    queues = boto3.client("sqs").list_queues()["QueueUrls"]
    assert {values.refs[queue] for queue in QUEUES} <= set(queues)


def test_a_prompt_is_queued_and_answered(api: Api, worker: Poller) -> None:
    user = Person(api)
    room = user.open_room()
    sent = user.ask(room, "hello")
    assert worker.poll().failed == []
    prompt = user.look(room, sent)
    assert prompt["status"] == "answered"
    assert "hello" in prompt["reply"]["content"]
