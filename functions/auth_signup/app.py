"""POST /auth/signup: create an account, with an email and a password or with a mobile number."""

from msgspec import UNSET

from geminichat.api import NO_STORE, Request, Response, created, endpoint
from geminichat.domain import hashing
from geminichat.domain.accounts import NewAccount, SignedUp
from geminichat.domain.codes import Purpose
from geminichat.errors import DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword
from geminichat.operations import accounts, one_time_codes


@endpoint(public=True, errors=[DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response[SignedUp]:
    """Answer 201 with the user, and tokens if there is a password; a mobile number gets a code."""
    new = request.body(NewAccount)

    admitted = accounts.admit_sign_up(new.identity, request.source, request.now)
    password_hash = hashing.hash_password(new.password) if new.password else None
    code = None
    if new.mobile:
        code = one_time_codes.issue(new.identity, Purpose.LOGIN, request.source, None, request.now)
    user, refresh = accounts.sign_up(admitted, password_hash, code)

    otp = one_time_codes.deliver(code) if code else UNSET
    tokens = request.tokens(refresh) if refresh else None
    limits = {**(code.headers() if code else {}), **admitted.headers()}
    signed_up = SignedUp.of(user, tokens, code.code.challenge if code else None, otp)
    return created(signed_up, "The account was created.", headers={**NO_STORE, **limits})
