"""The practical floor: the network calls of one of our functions by the same SDK clients, bare.

No validation, no rules, no logs, no errors of ours. FLOOR_PLAN is JSON: `uses` names the SDKs,
`calls` are the function's own, as they were recorded on the wire.
"""

import json
import os

PLAN = json.loads(os.environ["FLOOR_PLAN"])
USES = PLAN["uses"]

if "jwt" in USES:
    import jwt
if "argon2" in USES:
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
if "redis" in USES:
    from upstash_redis import Redis
if "stripe" in USES:
    import stripe
if "gemini" in USES:
    from google import generativeai

if os.environ.get("FLOOR_SESSION") == "ours":
    from geminichat import aws

    make_session = aws.session
else:
    from botocore.session import get_session as make_session

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


SESSION = make_session() if set(USES) & {"ssm", "dynamodb", "sqs", "sns", "ses"} else None
NAMES = {"ses": "sesv2"}
clients = {}


def client(service):
    if service not in clients:
        if service == "dynamodb":
            clients[service] = Connected(max_retry_attempts=1).client
        else:
            clients[service] = SESSION.create_client(NAMES.get(service, service))
    return clients[service]


def call(service, operation, request):
    if service == "redis":
        if "redis" not in clients:
            url = os.environ["UPSTASH_URL"]
            clients["redis"] = Redis(url=url, token="t", rest_retries=0, allow_telemetry=False)
        return clients["redis"].execute(request)
    if service == "stripe":
        if "stripe" not in clients:
            addresses = {"api": os.environ["STRIPE_ENDPOINT"]}
            clients["stripe"] = stripe.StripeClient("sk_test_1", base_addresses=addresses)
        method, path = operation.split(" ", 1)
        return clients["stripe"].raw_request(method.lower(), path, **request)
    if service == "gemini":
        endpoint = {"api_endpoint": os.environ["GEMINI_ENDPOINT"]}
        generativeai.configure(api_key="k", transport="rest", client_options=endpoint)
        return generativeai.GenerativeModel("gemini-2.5-flash").generate_content("Hello")
    return client(service)._make_api_call(operation, request)


def handler(event, _context):
    if "jwt" in USES:
        token = event["headers"]["authorization"].removeprefix("Bearer ")
        jwt.decode(token, bytes(range(32)), algorithms=["HS256"], audience="geminichat-api")
    if "argon2" in USES:
        hasher.hash("correct horse battery")
    for one in PLAN["calls"]:
        call(*one)
    return {"statusCode": 200, "headers": {}, "body": json.dumps({"success": True})}
