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
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong in a body: where (a JSON pointer, RFC 6901) and what."""

    pointer: str
    detail: str


class InvalidField(ValueError):
    """A rule's verdict on one field of a body; raised while the body is parsed."""

    def __init__(self, name: str, detail: str) -> None:
        """Keep the field's name as the wire has it, and what is wrong with it."""
        super().__init__(detail)
        self.name = name


@dataclass
class AppError(Exception):
    """Something the caller can be told; `detail` is one sentence for a person."""

    detail: str
    code: str = ""
    errors: Sequence[FieldProblem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    default_code: ClassVar[str] = "internal-error"

    def __post_init__(self) -> None:
        """Fill in the class's own code where the case names none."""
        super().__init__(self.detail)
        self.code = self.code or self.default_code


@dataclass
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


@dataclass
class Unauthorized(AppError):
    """No token, or one that does not hold."""

    detail: str = "Send a valid access token: 'Authorization: Bearer …'."
    status = 401
    title = "Unauthorized"
    default_code = "unauthorized"

    def __post_init__(self) -> None:
        """Name the scheme, as RFC 9110 (11.6.1) wants of every 401."""
        super().__post_init__()
        self.headers = {"www-authenticate": "Bearer", **self.headers}


@dataclass
class InvalidCredentials(Unauthorized):
    """Identity and password do not belong together; which of the two is never said."""

    detail: str = "The identity or the password is wrong."
    default_code = "invalid-credentials"


@dataclass
class NotFound(AppError):
    """It does not exist, or is someone else's: the two are told apart to nobody."""

    detail: str = "There is no such resource."
    status = 404
    title = "Not found"
    default_code = "not-found"


@dataclass
class Conflict(AppError):
    """The state of the resource does not allow this."""

    status = 409
    title = "Conflict"
    default_code = "conflict"


@dataclass
class BodyTooLarge(AppError):
    """The body is larger than the API takes."""

    status = 413
    title = "Content too large"
    default_code = "body-too-large"


@dataclass
class UnsupportedMedia(AppError):
    """The body is not declared as JSON."""

    status = 415
    title = "Unsupported media type"
    default_code = "unsupported-media-type"


@dataclass
class Unprocessable(AppError):
    """Well-formed, yet it contradicts an earlier request."""

    status = 422
    title = "Unprocessable content"
    default_code = "unprocessable"


@dataclass
class TooManyRequests(AppError):
    """A limit applies; `retry_after` seconds from now it may not."""

    retry_after: int = 1
    status = 429
    title = "Too many requests"
    default_code = "too-many-requests"

    def __post_init__(self) -> None:
        """Carry Retry-After (RFC 9110, 10.2.3), never below one second."""
        super().__post_init__()
        self.headers = {"retry-after": str(max(1, self.retry_after)), **self.headers}


@dataclass
class QuotaExceeded(TooManyRequests):
    """The day's prompts are used up."""

    default_code = "quota-exceeded"


@dataclass
class OutOfTokens(QuotaExceeded):
    """The day's tokens are used up."""

    default_code = "token-limit"


@dataclass
class BadGateway(AppError):
    """A service behind this one failed."""

    status = 502
    title = "Bad gateway"
    default_code = "bad-gateway"


@dataclass
class Unavailable(AppError):
    """Something this request needs is out of order or too busy; trying again is safe."""

    detail: str = "The service is busy. Try again in a moment."
    status = 503
    title = "Service unavailable"
    default_code = "unavailable"

    def __post_init__(self) -> None:
        """Ask for a pause."""
        super().__post_init__()
        self.headers = {"retry-after": "1", **self.headers}
