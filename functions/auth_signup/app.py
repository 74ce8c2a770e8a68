"""POST /auth/signup: create an account, with an email and a password or with a mobile number."""

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, created, endpoint
from geminichat.domain.accounts import NewAccount, SignedUp
from geminichat.domain.passwords import check_uncommon
from geminichat.errors import DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword
from geminichat.operations import sign_up


@endpoint(public=True, errors=[DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response[SignedUp]:
    """Answer 201 with the user, and tokens if there is a password; a mobile number gets a code."""
    new = request.body(NewAccount)
    check_uncommon("/password", new.password, config.common_passwords())

    user = sign_up.sign_up(new.identity, new.password, request.source, request.now)

    tokens = request.tokens(user.session) if user.session else None
    signed_up = SignedUp.of(user.account, tokens, user.challenge, user.otp)
    return created(signed_up, "The account was created.", headers={**NO_STORE, **user.headers})
