"""POST /auth/signup: open an account, with an email and a password or with a mobile number."""

from msgspec import UNSET

from geminichat.api import NO_STORE, Request, Response, created, endpoint
from geminichat.clients import notifications
from geminichat.domain import hashing
from geminichat.domain.accounts import NewAccount, SignedUp
from geminichat.domain.codes import Purpose
from geminichat.errors import DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword
from geminichat.operations import accounts
from geminichat.tables import codes


@endpoint(public=True, errors=[DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response[SignedUp]:
    """Answer 201 with the user, with a password also tokens; a mobile is sent its code."""
    wanted = request.body(NewAccount)

    claim = accounts.claimable(wanted.identity, request.now)
    hashed = hashing.hash_password(wanted.password) if wanted.password else None
    code = None
    if wanted.mobile:
        code = codes.draw(wanted.identity, Purpose.VERIFY, request.source, request.now)
    user, refresh = accounts.sign_up(wanted.identity, hashed, claim, code, request.now)

    otp = notifications.send(code) if code else UNSET
    tokens = request.tokens(refresh) if refresh else None
    limits = code.headers() if code else {}
    signed_up = SignedUp.of(user, tokens, otp)
    return created(signed_up, "Account created.", headers={**NO_STORE, **limits})
