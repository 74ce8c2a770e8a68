"""What of the worker's package our layer has and our door imports: a handler that does nothing."""

import geminichat.clients.gemini_sdk  # noqa: F401


def handler(_event, _context):
    return {"statusCode": 200, "body": "{}"}
