"""One conversation from sign-up to answer, over HTTP."""

from infra.local.standins.gemini import reply_to
from tests.support.deployed import RunningStack


def test_a_prompt_is_sent_with_the_rooms_history(stack: RunningStack) -> None:
    user = stack.new_user()
    room = user.open_room("Queues")
    contents = []
    for prompt in ("What is a queue?", "And a dead letter?"):
        sent = user.send(room, prompt)
        assert sent.status == 202
        assert sent.data["status"] == "queued"
        message = user.wait(room, sent.data["messageId"])
        assert message["status"] == "answered"
        contents.append({"role": "user", "parts": [{"text": prompt}]})
        assert message["reply"]["content"] == reply_to(contents)
        contents.append({"role": "model", "parts": [{"text": message["reply"]["content"]}]})
    asked = stack.gemini.requests()
    assert [request["contents"] for request in asked] == [contents[:1], contents[:3]]
