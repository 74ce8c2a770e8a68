"""POST /auth/signup: open an account, with an email and a password or with a mobile number."""

from geminichat.api import NO_STORE, Request, Response, created, endpoint
from geminichat.domain import hashing
from geminichat.domain.accounts import NewAccount, SignedUp
from geminichat.tables import identities, users


@endpoint(public=True)
def handler(request: Request) -> Response[SignedUp]:
    """Answer 201 with the user, and with tokens where there is a password."""
    wanted = request.body(NewAccount)

    claim = identities.find(wanted.identity)
    if claim and claim.verified:
        raise users.taken()

    hashed = hashing.hash_password(wanted.password) if wanted.password else None
    user, refresh = users.sign_up(wanted.identity, hashed, claim, request.now)
    tokens = request.tokens(refresh) if refresh else None
    return created(SignedUp.of(user, tokens), "Account created.", headers=NO_STORE)
