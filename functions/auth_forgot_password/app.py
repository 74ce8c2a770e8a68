"""POST /auth/forgot-password: send a code that resets a password."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import notifications
from geminichat.domain.codes import CodeSent, Purpose, WantedCode
from geminichat.errors import DeliveryFailed, TooManyRequests
from geminichat.tables import codes, identities


@endpoint(public=True, errors=[DeliveryFailed, TooManyRequests])
def handler(request: Request) -> Response[CodeSent]:
    """Answer 200, the same and after the same work whether there is an account."""
    wanted = request.body(WantedCode)

    known = identities.find(wanted.identity) is not None
    code = codes.draw(wanted.identity, Purpose.RESET, request.source, request.now)
    codes.store(code)
    otp = notifications.send(code, known=known)
    return ok(CodeSent(otp=otp), "The code is on its way.", headers={**NO_STORE, **code.headers()})
