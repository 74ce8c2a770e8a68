"""What the worker's package costs by itself: a handler that does nothing, and the import."""

import google.generativeai  # noqa: F401


def handler(_event, _context):
    return {"statusCode": 200, "body": "{}"}
