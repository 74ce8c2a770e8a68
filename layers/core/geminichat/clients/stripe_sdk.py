"""Stripe's SDK on our own HTTP client.

The SDK's own client has a deadline per read instead of one per response, and ignores the deadline
of the API request that it works for.
"""

import functools
from collections.abc import Mapping
from typing import Any

from geminichat.runtime import deadlines, http_client, trimmed_imports

with trimmed_imports.trim_stripe():
    import stripe

stripe.enable_telemetry = False
"""With telemetry, the SDK starts a process (`uname`) before its first request."""

CONNECT_TIMEOUT = 1.0

__all__ = ["create_client", "stripe"]


@functools.cache
def create_client(key: str, *, endpoint: str, read: float, retries: int) -> stripe.StripeClient:
    """Return a client that waits `read` seconds for a response and retries `retries` times.

    Only idempotent calls may have retries. An empty `endpoint` means Stripe's own.
    """
    return stripe.StripeClient(
        key,
        max_network_retries=retries,
        http_client=_Http(
            read, http_client.IDLE_LIMIT if retries else http_client.IDLE_LIMIT_ONE_ATTEMPT
        ),
        base_addresses={"api": endpoint} if endpoint else {},
    )


class _Http(stripe.HTTPClient):
    name = "geminichat"

    def __init__(self, read: float, idle: float) -> None:
        super().__init__()
        self._read, self._idle = read, idle

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        **_: Any,
    ) -> tuple[Any, int, Mapping[str, str]]:
        body = post_data.encode() if isinstance(post_data, str) else post_data
        try:
            answer = http_client.request(
                method.upper(),
                url,
                headers or {},
                body,
                connect=CONNECT_TIMEOUT,
                read=self._read,
                idle=self._idle,
            )
        except http_client.RequestFailed as error:
            again = deadlines.time_left() > self.INITIAL_DELAY
            failed: Any = stripe.APIConnectionError
            raise failed(str(error), should_retry=again) from error
        return answer.body, answer.status, answer.headers

    def close(self) -> None:
        """Do nothing: our HTTP client keeps the connections."""
