"""POST /user/identity: add an email or a mobile number to the account, or replace one."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import accounts as texts
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
from geminichat.operations import accounts, login, notices, one_time_codes
from geminichat.tables import users


@endpoint(
    errors=[IdentityNotVerified, IdentityTaken, InvalidCode, InvalidCredentials, TooManyRequests]
)
def handler(request: Request) -> Response[Account]:
    """Answer 200 with the user; POST /auth/send-otp with the purpose "link" sends the code."""
    given = request.body(NewIdentity)
    [user] = users.read_current(request.caller, request.now)

    fresh = given.fresh_proof
    limits, used = login.confirm(user, fresh, request.caller, request.source, request.now)
    proof = one_time_codes.verify(given, Purpose.LINK, request.source, request.now)
    account, before = accounts.add_identity(proof, request.caller, used, request.now)
    notice = texts.identity_notice(given.identity.kind, getattr(before, given.identity.kind))
    notices.send(before.user_id, users.identities_of(before), notice, request.now)
    headers = {**NO_STORE, **limits}
    message = "The email or mobile number was added to your account."
    return ok(account, message, headers=headers)
