"""POST /user/identity: add an email or a mobile to the account, or put it in the other's place."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.accounts import NewIdentity
from geminichat.domain.codes import Purpose
from geminichat.domain.users import Account
from geminichat.errors import (
    IdentityNotVerified,
    IdentityTaken,
    InvalidCode,
    InvalidCredentials,
    TooManyRequests,
)
from geminichat.operations import accounts
from geminichat.tables import codes, users
from geminichat.upstash import login_throttle


@endpoint(
    errors=[IdentityNotVerified, IdentityTaken, InvalidCode, InvalidCredentials, TooManyRequests]
)
def handler(request: Request) -> Response[Account]:
    """Answer 200 with the user; the code comes from POST /auth/send-otp."""
    given = request.body(NewIdentity)
    [user] = users.current(request.user_id, request.session_id, request.now)
    own = users.identity_of(user)
    limits = login_throttle.confirm(own, request.source, given.current_password, user.password_hash)

    proof = codes.guess(given.identity, Purpose.VERIFY, given.otp, request.now)
    account = accounts.add_identity(proof, request.user_id, request.session_id, request.now)
    return ok(account, "It is yours, and lets you in.", headers={**NO_STORE, **limits})
