"""The API's documents, held against the API as it runs: the Postman collection, and OpenAPI's."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkey import Valkey

from infra.local.home import ROOT, TOOLS
from infra.openapi.journey import JOURNEY
from tests import document
from tests.e2e.conftest import RunningStack
from tests.fuzz.run import fuzz, new_user, subscribe


@pytest.fixture(scope="module")
def newman() -> Path:
    """What runs a Postman collection; installed here the first time."""
    if not shutil.which("npm"):
        pytest.skip("no npm, which would install newman: Node.js 16 or newer has it")
    subprocess.run([sys.executable, ROOT / "infra/local/setup.py", "--only", "newman"], check=True)
    return TOOLS / "newman" / "node_modules" / ".bin" / "newman"


@pytest.mark.timeout(300)
def test_newman_walks_the_whole_journey_of_the_postman_collection(
    stack: RunningStack, newman: Path, tmp_path: Path
) -> None:
    collection, report = tmp_path / "postman.json", tmp_path / "report.json"
    collection.write_text(stack.http.get("/docs/postman.json").raise_for_status().text)
    command = [str(newman), "run", str(collection), "--folder", "Journey"]
    command += ["--env-var", f"baseUrl={stack.url}", "--reporters", "cli,json"]
    command += ["--reporter-json-export", str(report)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    walked = json.loads(report.read_text())["run"]["executions"]
    named = dict.fromkeys(one["item"]["name"].partition(". ")[2] for one in walked)
    assert list(named) == [step.says for step in JOURNEY]
    for one in walked:
        request, answer = one["request"], one["response"]
        headers = {header["key"].lower(): header["value"] for header in answer["header"]}
        assert "x-request-id" in headers
        document.check(
            request["method"],
            "/" + "/".join(request["url"]["path"]),
            answer["code"],
            headers,
            bytes(answer["stream"]["data"]).decode(),
        )


@pytest.fixture
def left_in_order(stack: RunningStack) -> Iterator[None]:
    """See to it, at the end, that no later test meets a pause or a prompt of this one."""
    yield
    valkey = stack.description.valkey
    Valkey(valkey.host, valkey.port).flushdb()
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = stack.description.queues["PromptsQueue"].url
    deadline = time.monotonic() + 120
    while True:
        found = stack.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=counts)
        if all(found["Attributes"][name] == "0" for name in counts):
            return
        assert time.monotonic() < deadline, f"still in the queue: {found['Attributes']}"
        time.sleep(0.5)


# 75 seconds: one pass through every example and every boundary takes about 45, and the rest is for
# drawn requests and for sequences of them. `make schemathesis` goes on for ten minutes.
SECONDS = 75


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("left_in_order")
def test_schemathesis_sees_no_answer_that_is_not_as_documented(stack: RunningStack) -> None:
    user = new_user(stack.url)
    assert stack.description.stripe
    subscribe(stack.url, user, stack.description.stripe)
    assert fuzz(stack.url, user, seconds=SECONDS, seed=1) == 0
