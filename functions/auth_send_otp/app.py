"""POST /auth/send-otp: send a code that proves an email or a mobile, whoever's it is."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.clients import notifications
from geminichat.domain.codes import CodeSent, Purpose, WantedCode
from geminichat.errors import DeliveryFailed, TooManyRequests
from geminichat.tables import codes


@endpoint(public=True, errors=[DeliveryFailed, TooManyRequests])
def handler(request: Request) -> Response[CodeSent]:
    """Answer 200, the same whether there is an account: nobody looks."""
    wanted = request.body(WantedCode)

    code = codes.draw(wanted.identity, Purpose.VERIFY, request.source, request.now)
    codes.store(code)
    otp = notifications.send(code)
    return ok(CodeSent(otp=otp), "The code is on its way.", headers={**NO_STORE, **code.headers()})
