"""Queues of the emulated AWS: count, delete and send messages."""

import json

import boto3

from geminichat.domain import ids
from tests.support.environment import VALUES


def count_messages(queue: str) -> tuple[int, int]:
    """Return the numbers of visible and of hidden (received or delayed) messages in a queue."""
    found = boto3.client("sqs").get_queue_attributes(
        QueueUrl=VALUES.refs[queue], AttributeNames=["All"]
    )["Attributes"]
    waiting = int(found["ApproximateNumberOfMessages"])
    return waiting, int(found["ApproximateNumberOfMessagesNotVisible"])


def purge(queue: str) -> None:
    """Delete every message of a queue."""
    boto3.client("sqs").purge_queue(QueueUrl=VALUES.refs[queue])


def job_of(room: str, seq: int = 1) -> str:
    """Return the body of a queue message about a prompt."""
    return json.dumps({"chatroomId": room, "seq": seq})


def send_dead_letter(body: str) -> None:
    """Send a message to the dead-letter queue of prompts, in a group of its own."""
    name = ids.new("x")
    boto3.client("sqs").send_message(
        QueueUrl=VALUES.refs["DeadLettersQueue"],
        MessageBody=body,
        MessageGroupId=name,
        MessageDeduplicationId=name,
    )
