"""POST /auth/verify-otp: a code for a session's tokens; an unknown identity becomes a user here."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.accounts import GivenCode, SignedIn
from geminichat.domain.codes import Purpose
from geminichat.errors import InvalidCode
from geminichat.operations import accounts
from geminichat.tables import codes


@endpoint(public=True, errors=[InvalidCode])
def handler(request: Request) -> Response[SignedIn]:
    """Answer 200 with the user and tokens."""
    given = request.body(GivenCode)

    proof = codes.guess(given.identity, Purpose.VERIFY, given.otp, request.now)
    user, refresh = accounts.enter(proof, request.now)
    return ok(SignedIn.of(user, request.tokens(refresh)), "Logged in.", headers=NO_STORE)
