"""POST /auth/change-password: set a new password and end all other sessions."""

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import accounts as texts
from geminichat.domain import hashing
from geminichat.domain.accounts import PasswordChange
from geminichat.domain.passwords import check_strength, check_uncommon
from geminichat.domain.tokens import Tokens
from geminichat.errors import InvalidCode, InvalidCredentials, TooManyRequests, WeakPassword
from geminichat.operations import accounts, login, notices
from geminichat.tables import users


@endpoint(errors=[InvalidCode, InvalidCredentials, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with the tokens of a new session; requires a fresh proof."""
    change = request.body(PasswordChange)
    check_uncommon("/newPassword", change.new_password, config.common_passwords())
    [user] = users.read_current(request.caller, request.now)
    check_strength("/newPassword", change.new_password, user.email, user.mobile)

    limits, used = login.confirm(user, change, request.caller, request.source, request.now)
    password_hash = hashing.hash_password(change.new_password)
    session = accounts.change_password(request.caller, password_hash, used, request.now)
    notices.send(user.user_id, users.identities_of(user), texts.CHANGE_NOTICE, request.now)
    headers = {**NO_STORE, **limits}
    return ok(request.tokens(session), "The password was changed.", headers=headers)
