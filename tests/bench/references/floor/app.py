"""The practical floor of a function: only its network calls, made with the same SDK clients.

It has no validation, rules, logs or errors. FLOOR_PLAN is JSON: `uses` names the SDKs, `calls` has
the function's recorded calls, and the other fields say how often the function hashes a password,
and whether it verifies a token and issues one. FLOOR_CLIENTS is "shipped" or "ours". With "shipped"
the packages are unchanged. With "ours" they are imported as in our functions, and use our HTTP
client.
"""

import json
import os
from urllib.parse import urlencode

PLAN = json.loads(os.environ["FLOOR_PLAN"])
USES = PLAN["uses"]
OURS = os.environ["FLOOR_CLIENTS"] == "ours"
AWS = {"ssm", "dynamodb", "sqs", "sns", "ses"}.intersection(USES)
clients = {}

if "argon2" in USES:
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

if OURS:
    if "stripe" in USES:
        from geminichat.clients import stripe_sdk
    if AWS:
        from geminichat.runtime import aws_client
    if "dynamodb" in USES:
        import geminichat.runtime.dynamodb  # noqa: F401  imports PynamoDB as our functions do
    if "redis" in USES:
        from geminichat.runtime.trimmed_imports import skip_modules

        with skip_modules({"geminichat.runtime.log": {}, "geminichat.metrics": {}}):
            from geminichat.upstash.redis import Redis
    if "jwt" in USES:
        from geminichat.runtime.jwt_codec import jwt
else:
    if "stripe" in USES:
        import stripe
    if AWS:
        from botocore.session import get_session

        SESSION = get_session()
    if "redis" in USES:
        from upstash_redis import Redis
    if "jwt" in USES:
        import jwt

if "dynamodb" in USES:
    from pynamodb.attributes import NumberAttribute, UnicodeAttribute
    from pynamodb.connection.base import Connection
    from pynamodb.models import Model

    class Connected(Connection):
        @property
        def session(self):
            return SESSION

    class Thing(Model):
        class Meta:
            table_name = "things"

        thing_id = UnicodeAttribute(hash_key=True)
        place = NumberAttribute(range_key=True)
        text = UnicodeAttribute(null=True)


def create_client(service):
    """Return a new client of a service."""
    if service == "redis":
        url = os.environ["UPSTASH_URL"]
        return Redis(url, "t") if OURS else Redis(url=url, token="t", rest_retries=0)
    if service == "stripe":
        endpoint = os.environ["STRIPE_ENDPOINT"]
        if OURS:
            return stripe_sdk.create_client("sk_test_1", endpoint=endpoint, read=8, retries=0)
        return stripe.StripeClient("sk_test_1", base_addresses={"api": endpoint})
    if OURS:
        return aws_client.Client(service, connect=1, read=4, attempts=1)
    if service == "dynamodb":
        return Connected(max_retry_attempts=1).client
    return SESSION.create_client("sesv2" if service == "ses" else service)


def client(service):
    """Return the client of a service; the first call creates the client."""
    if service not in clients:
        clients[service] = create_client(service)
    return clients[service]


def call(service, operation, request):
    """Repeat one recorded call."""
    if service == "redis":
        client(service).execute(request)
    elif service == "stripe":
        method, path = operation.split(" ", 1)
        client(service).raw_request(method.lower(), path, **request)
    elif not OURS:
        client(service)._make_api_call(operation, request)
    elif service == "sns":
        kind = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        form = {"Action": operation, "Version": "2010-03-31", **request}
        client(service).post(operation, "/", kind, urlencode(form).encode())
    elif service == "ses":
        kind = {"content-type": "application/json"}
        path = "/v2/email/outbound-emails"
        client(service).post(operation, path, kind, json.dumps(request).encode())
    else:
        client(service).call(operation, request)


def handler(event, _context):
    key = bytes(range(32))
    if PLAN["verifies"]:
        token = event["headers"]["authorization"].removeprefix("Bearer ")
        jwt.decode(token, key, algorithms=["HS256"], audience="geminichat-api")
    for _ in range(PLAN["hashes"]):
        hasher.hash("correct horse battery")
    for one in PLAN["calls"]:
        call(*one)
    if PLAN["issues"]:
        jwt.encode({"sub": "u_1", "aud": "geminichat-api"}, key, algorithm="HS256")
    return {"statusCode": 200, "headers": {}, "body": json.dumps({"success": True})}
