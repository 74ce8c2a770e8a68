"""POST /auth/forgot-password: send a code that resets a password."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.codes import CodeSent, Purpose, ResetRequest
from geminichat.errors import DeliveryFailed, TooManyRequests
from geminichat.operations import one_time_codes


@endpoint(public=True, errors=[DeliveryFailed, TooManyRequests])
def handler(request: Request) -> Response[CodeSent]:
    """Answer 200; the body and the work are the same whether or not the account exists."""
    asked = request.body(ResetRequest)

    sent, limits = one_time_codes.send(
        asked.identity, Purpose.RESET, request.source, asked.device_token, request.now
    )
    return ok(sent, "The code was sent.", headers={**NO_STORE, **limits})
