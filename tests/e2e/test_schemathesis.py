"""The OpenAPI document, held against the API as it runs."""

import time
from collections.abc import Iterator

import pytest
from valkey import Valkey

from tests.fuzz.run import fuzz, new_user
from tests.support.deployed import RunningStack


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
    user = new_user(stack.url, stack.description.stripe)
    assert fuzz(stack.url, user, seconds=SECONDS, seed=1) == 0
