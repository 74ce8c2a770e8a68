"""A test of the running API by Schemathesis, which reads the OpenAPI document."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from valkey import Valkey

from infra.paths import ROOT
from tests.fuzz.run import fuzz, new_user
from tests.support.deployed import RunningStack


@pytest.fixture
def clean_up(stack: RunningStack) -> Iterator[None]:
    """After the test, clear Redis and wait until the queue is empty, for the next tests."""
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


# One pass through every example and every boundary takes about 45 seconds; the rest is for
# generated requests and sequences of requests. `make schemathesis` runs for ten minutes.
SECONDS = 50


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("clean_up")
def test_schemathesis_finds_no_undocumented_answer(stack: RunningStack) -> None:
    subprocess.run([sys.executable, ROOT / "infra/setup.py", "--only", "schemathesis"], check=True)
    user = new_user(stack.url, stack.description.stripe)
    assert fuzz(stack.url, user, seconds=SECONDS, seed=1) == 0
