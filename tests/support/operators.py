"""The requests of `make admin`, sent to functions that run in this process."""

import json
from typing import Any

from geminichat.config import setting
from geminichat.domain import ids
from geminichat.tables.audit import Audit
from infra.stages import admin
from tests.support.lambdas import invoke

OTHERS = {"delete": "AdminDelete", "export": "AdminExport", "redrive": "AdminRedrive"}
ROOT = "arn:aws:iam::000000000000:root"
"""The identity of the tests' credentials."""


def ask(**question: Any) -> Any:
    """Return the whole answer of AdminShow to a question."""
    return invoke("AdminShow", {"request": json.dumps(question)})


def describe(user_id: str) -> Any:
    """Return the state of a user's account as operators see it."""
    return ask(ask="show", userId=user_id)["data"]


def new_act(name: str, user_id: str, **values: Any) -> dict[str, Any]:
    """Return an act to send, with a new id."""
    act = {"act": name, "id": ids.new("a"), "userId": user_id, "reason": "ticket 41"}
    return act | values


def send(act: dict[str, Any], **proof: str) -> Any:
    """Send an act with a proof of its operator, and return the whole answer."""
    function = OTHERS.get(act["act"], "AdminChange")
    request = json.dumps(act)
    proven = admin.prove(request, setting("STAGE")) | proof
    return invoke(function, {"request": request, "proof": proven})


def act(name: str, user_id: str, **values: Any) -> Any:
    """Perform an act, and return its outcome."""
    answer = send(new_act(name, user_id, **values))
    assert "error" not in answer, answer
    return answer["data"]


def read_audit(user_id: str) -> list[Audit]:
    """Return the audit items of a user."""
    return list(Audit.query(user_id, consistent_read=True))
