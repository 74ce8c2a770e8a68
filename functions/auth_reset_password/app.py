"""POST /auth/reset-password: set a new password with a code; every session ends.

An identity is removed if it is newer than the identity that received the code, and at most seven
days old: someone else may have added it. Earlier device tokens are no longer accepted.
"""

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import accounts as texts
from geminichat.domain import hashing
from geminichat.domain.accounts import NewPassword
from geminichat.domain.codes import Purpose
from geminichat.domain.passwords import check_uncommon
from geminichat.errors import AccountSuspended, InvalidCode, TooManyRequests, WeakPassword
from geminichat.operations import accounts, notices, one_time_codes


@endpoint(public=True, errors=[AccountSuspended, InvalidCode, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response:
    """Answer 200 without a session: the user logs in with the new password."""
    given = request.body(NewPassword)
    check_uncommon("/newPassword", given.new_password, config.common_passwords())

    proof = one_time_codes.verify(given, Purpose.RESET, request.source, request.now)
    password_hash = hashing.hash_password(given.new_password)
    reset = accounts.reset_password(proof, password_hash, request.source, request.now)
    notices.send(reset.user_id, reset.held, texts.reset_notice(reset.removed), request.now)
    return ok(None, "The password was changed. Log in with the new password.", headers=NO_STORE)
