"""POST /auth/change-password: a new password for the current one, or a first one; sessions end."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import hashing
from geminichat.domain.accounts import PasswordChange
from geminichat.domain.passwords import check_strength
from geminichat.domain.tokens import Tokens
from geminichat.errors import InvalidCredentials, TooManyRequests, WeakPassword
from geminichat.operations import accounts
from geminichat.tables import users
from geminichat.upstash import login_throttle


@endpoint(errors=[InvalidCredentials, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with the tokens of a new session, the only one left."""
    change = request.body(PasswordChange)
    [user] = users.current(request.user_id, request.session_id, request.now)
    check_strength("/newPassword", change.new_password, user.email, user.mobile)
    own = users.identity_of(user)
    limits = login_throttle.confirm(
        own, request.source, change.current_password, user.password_hash
    )

    refresh = accounts.change_password(
        user, hashing.hash_password(change.new_password), request.now
    )
    return ok(request.tokens(refresh), "The password is changed.", headers={**NO_STORE, **limits})
