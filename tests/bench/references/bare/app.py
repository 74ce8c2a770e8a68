"""The floor: a handler that does nothing."""


def handler(_event, _context):
    return {"statusCode": 200, "body": "{}"}
