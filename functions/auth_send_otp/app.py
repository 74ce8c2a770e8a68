"""POST /auth/send-otp: send a code that proves an email or a mobile number."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.codes import CodeRequest, CodeSent, Purpose
from geminichat.errors import DeliveryFailed, TooManyRequests
from geminichat.operations import one_time_codes


@endpoint(public=True, errors=[DeliveryFailed, TooManyRequests])
def handler(request: Request) -> Response[CodeSent]:
    """Answer 200 with the same body, after the same work, whether or not the account exists."""
    asked = request.body(CodeRequest)

    sent, limits = one_time_codes.send(
        asked.identity, Purpose(asked.purpose), request.source, asked.device_token, request.now
    )
    return ok(sent, "The code was sent.", headers={**NO_STORE, **limits})
