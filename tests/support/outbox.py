"""The text messages and emails that functions have sent, as MiniStack stores them."""

import json
import os
import re
import urllib.request
from typing import Any
from urllib.parse import quote


def messages_to(recipient: str, aws: str | None = None) -> list[str]:
    """Return the contents of the messages to a mobile number or email address, oldest first.

    `aws` is the URL of the emulated AWS; the default is the one in the environment.
    """
    if recipient.startswith("+"):
        found = _ask(aws, f"sns/sms-messages?phoneNumber={quote(recipient, safe='')}")
        return [str(sent["Message"]) for sent in _records(found, recipient)]
    found = _ask(aws, "ses/messages")
    return [
        str(sent["BodyText"])
        for sent in _records(found["messages"], "000000000000")
        if recipient in sent["To"]
    ]


def code_for(recipient: str, aws: str | None = None) -> str:
    """Return the code in the newest message to a mobile number or email address."""
    found = re.search(r"\b[0-9]{6}\b", messages_to(recipient, aws)[-1])
    assert found, "the newest message has no code"
    return found[0]


def _ask(aws: str | None, path: str) -> Any:
    url = f"{aws or os.environ['AWS_ENDPOINT_URL']}/_ministack/{path}"
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
        return json.load(answer)


def _records(found: Any, name: str) -> list[Any]:
    """Return the records in all lists with this name, at any depth of the answer."""
    if isinstance(found, dict):
        if isinstance(found.get(name), list):
            return list(found[name])
        return [record for value in found.values() for record in _records(value, name)]
    return []
