"""POST /auth/reset-password: set a new password with a code; every session ends.

An email or a mobile number that was added to the account after this one, within the last seven
days, is removed: someone else may have added it. A device token is no longer accepted.
"""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import accounts as texts
from geminichat.domain import hashing
from geminichat.domain.accounts import NewPassword
from geminichat.domain.codes import Purpose
from geminichat.errors import AccountSuspended, InvalidCode, TooManyRequests, WeakPassword
from geminichat.operations import accounts, notices, one_time_codes


@endpoint(public=True, errors=[AccountSuspended, InvalidCode, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response:
    """Answer 200; log in with the new password to begin a session."""
    given = request.body(NewPassword)

    proof = one_time_codes.verify(
        given.identity, Purpose.RESET, given.otp, given.challenge, request.source, request.now
    )
    password_hash = hashing.hash_password(given.new_password)
    reset = accounts.reset_password(proof, password_hash, request.source, request.now)
    notices.send(reset.user_id, reset.held, texts.reset_notice(reset.removed), request.now)
    return ok(None, "The password was changed. Log in with it.", headers=NO_STORE)
