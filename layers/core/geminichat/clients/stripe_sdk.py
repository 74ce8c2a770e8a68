"""Stripe's SDK over our own HTTP client.

Its usual HTTP client has a deadline for each byte of an answer, not for the answer, and does not
know when its caller has to be done.
"""

from collections.abc import Mapping
from typing import Any

import stripe

from geminichat.runtime import deadlines, http_client

CONNECT_TIMEOUT = 1.0

__all__ = ["client", "stripe"]


def client(key: str, *, endpoint: str, read: float, retries: int) -> stripe.StripeClient:
    """Return a client that waits `read` seconds for an answer, and tries again so many times.

    Only what is idempotent may have retries. An empty `endpoint` is Stripe's own.
    """
    return stripe.StripeClient(
        key,
        max_network_retries=retries,
        http_client=_Http(read, http_client.KEPT_FOR if retries else http_client.KEPT_FOR_ONE_TRY),
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
        except http_client.Failed as error:
            again = deadlines.time_left() > self.INITIAL_DELAY
            failed: Any = stripe.APIConnectionError
            raise failed(str(error), should_retry=again) from error
        return answer.body, answer.status, answer.headers

    def close(self) -> None:
        """Nothing is held here: connections are kept by our own HTTP."""
