"""A handler that does nothing, for the shortest possible cold start."""


def handler(_event, _context):
    return {"statusCode": 200, "body": "{}"}
