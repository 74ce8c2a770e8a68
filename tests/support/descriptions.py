"""An example of the file in which `make up` describes a running stack."""

from infra import running

DESCRIPTION = running.Stack(
    api_id="a1",
    live_api_id="l1",
    tables={"UsersTable": "users-1"},
    queues={"PromptsQueue": running.Queue(name="p.fifo", url="http://q", arn="arn:q")},
    functions={"HealthCheck": "health-1"},
    aliases={"HealthCheckAliaslive": "arn:health:live"},
    log_groups={"LogGroup": "/geminichat/local"},
    outputs={"ApiUrl": "http://a1"},
    api_url="http://127.0.0.1:8000",
    pid=1,
    started_at="2026-11-24T00:00:00Z",
    stack="geminichat-local",
    stage="local",
    aws=running.Aws(endpoint_url="http://127.0.0.1:4566"),
    upstash=running.Upstash(url="http://u", token="t"),
    valkey=running.Valkey(host="127.0.0.1", port=6379),
    gemini=None,
    stripe=running.Stripe(url="http://s", secret_key="sk"),
    logs="logs",
)
