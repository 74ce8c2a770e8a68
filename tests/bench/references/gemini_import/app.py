"""The cost of importing google.generativeai: a handler that only imports it."""

import google.generativeai  # noqa: F401


def handler(_event, _context):
    return {"statusCode": 200, "body": "{}"}
