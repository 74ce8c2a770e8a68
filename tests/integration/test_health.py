"""GET /health, with and without its dependencies."""

from tests.support.lambdas import Api


def test_health_answers_without_a_dependency(api: Api) -> None:
    reply = api.get("/health")
    assert reply.status == 200
    assert reply.data["status"] == "ok"
    assert reply.headers["x-request-id"]


def test_every_dependency_answers(api: Api) -> None:
    reply = api.get("/health?deep=1")
    assert (reply.status, set(reply.data["dependencies"].values())) == (200, {"ok"})
