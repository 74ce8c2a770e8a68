"""Every error a caller may see; each knows its HTTP status and its stable code.

    AppError
    ├── InvalidRequest        400  bad-request (with pointers into the body where it is at fault)
    ├── Unauthorized          401  unauthorized
    ├── InvalidCredentials    401  invalid-credentials
    ├── NotFound              404  not-found
    ├── Conflict              409  one code a case: identity-taken, key-in-use, not-failed …
    ├── BodyTooLarge          413  body-too-large
    ├── UnsupportedMedia      415  unsupported-media-type
    ├── Unprocessable         422  one code a case: key-reused
    ├── TooManyRequests       429  too-many-requests
    │   └── QuotaExceeded     429  quota-exceeded
    │       └── OutOfTokens   429  token-limit
    ├── BadGateway            502  one code a case: payment-provider
    └── Unavailable           503  unavailable

They cross the wire as RFC 9457 problem details; `geminichat.api` does that.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import msgspec


class FieldProblem(msgspec.Struct, frozen=True):
    """One thing wrong in a body: where (a JSON pointer, RFC 6901) and what."""

    pointer: str
    detail: str


class InvalidField(ValueError):
    """A rule's verdict on one field of a body; raised while the body is parsed."""

    def __init__(self, name: str, detail: str) -> None:
        """Keep the field's name as the wire has it, and what is wrong with it."""
        super().__init__(detail)
        self.name = name


class AppError(Exception):
    """Something the caller can be told; `detail` is one sentence for a person.

    A class whose cases all say the same has that sentence as its own `detail`.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    default_code: ClassVar[str] = "internal-error"
    own_headers: ClassVar[Mapping[str, str]] = {}
    detail: str

    def __init__(
        self,
        detail: str | None = None,
        code: str = "",
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what this case says; the rest is as its class has it."""
        self.detail = self.detail if detail is None else detail
        super().__init__(self.detail)
        self.code = code or self.default_code
        self.errors = errors
        self.headers = {**self.own_headers, **(headers or {})}
        self.extensions = extensions or {}


class InvalidRequest(AppError):
    """The request is malformed, or a field of it is."""

    status = 400
    title = "Bad request"
    default_code = "bad-request"

    @classmethod
    def at(cls, problems: Mapping[str, str], code: str = "") -> Self:
        """Return the error for what is wrong at each of these pointers."""
        listed = [FieldProblem(pointer, detail) for pointer, detail in problems.items()]
        first = listed[0]
        return cls(
            f"The body does not fit: {first.pointer}: {first.detail}.", code=code, errors=listed
        )


class Unauthorized(AppError):
    """No token, or one that does not hold."""

    detail = "Send a valid access token: 'Authorization: Bearer …'."
    status = 401
    title = "Unauthorized"
    default_code = "unauthorized"
    own_headers: ClassVar = {"www-authenticate": "Bearer"}
    """RFC 9110, 11.6.1."""


class InvalidCredentials(Unauthorized):
    """Identity and password do not belong together; which of the two is never said."""

    detail = "The identity or the password is wrong."
    default_code = "invalid-credentials"


class NotFound(AppError):
    """It does not exist, or is someone else's: the two are told apart to nobody."""

    detail = "There is no such resource."
    status = 404
    title = "Not found"
    default_code = "not-found"


class Conflict(AppError):
    """The state of the resource does not allow this."""

    status = 409
    title = "Conflict"
    default_code = "conflict"


class BodyTooLarge(AppError):
    """The body is larger than the API takes."""

    status = 413
    title = "Content too large"
    default_code = "body-too-large"


class UnsupportedMedia(AppError):
    """The body is not declared as JSON."""

    status = 415
    title = "Unsupported media type"
    default_code = "unsupported-media-type"


class Unprocessable(AppError):
    """Well-formed, yet it contradicts an earlier request."""

    status = 422
    title = "Unprocessable content"
    default_code = "unprocessable"


class TooManyRequests(AppError):
    """A limit applies; `retry_after` seconds from now it may not."""

    status = 429
    title = "Too many requests"
    default_code = "too-many-requests"

    def __init__(self, detail: str, code: str = "", *, retry_after: int = 1, **more: Any) -> None:
        """Carry Retry-After (RFC 9110, 10.2.3), never below one second."""
        super().__init__(detail, code, **more)
        self.retry_after = retry_after
        self.headers = {"retry-after": str(max(1, retry_after)), **self.headers}


class QuotaExceeded(TooManyRequests):
    """The day's prompts are used up."""

    default_code = "quota-exceeded"


class OutOfTokens(QuotaExceeded):
    """The day's tokens are used up."""

    default_code = "token-limit"


class BadGateway(AppError):
    """A service behind this one failed."""

    status = 502
    title = "Bad gateway"
    default_code = "bad-gateway"


class Unavailable(AppError):
    """Something this request needs is out of order or too busy; trying again is safe."""

    detail = "The service is busy. Try again in a moment."
    status = 503
    title = "Service unavailable"
    default_code = "unavailable"
    own_headers: ClassVar = {"retry-after": "1"}
