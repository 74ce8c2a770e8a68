"""A handler that does nothing, which has the shortest possible cold start."""


def handler(_event, _context):
    return {"statusCode": 200, "body": "{}"}
