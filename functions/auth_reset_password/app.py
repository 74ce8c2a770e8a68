"""POST /auth/reset-password: set a new password with a code; every session ends."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import hashing
from geminichat.domain.accounts import NewPassword
from geminichat.domain.codes import Purpose
from geminichat.errors import InvalidCode, WeakPassword
from geminichat.operations import accounts
from geminichat.tables import codes
from geminichat.upstash import login_throttle


@endpoint(public=True, errors=[InvalidCode, WeakPassword])
def handler(request: Request) -> Response:
    """Answer 200; the new password opens the next session."""
    given = request.body(NewPassword)

    proof = codes.guess(given.identity, Purpose.RESET, given.otp, request.now)
    accounts.reset_password(proof, hashing.hash_password(given.new_password), request.now)
    login_throttle.forget(given.identity)
    return ok(None, "The password is changed. Log in with it.")
