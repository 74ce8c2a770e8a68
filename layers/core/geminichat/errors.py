"""Every error that a caller may see; each has an HTTP status and a stable code.

    AppError                      500  internal-error
    ├── InvalidRequest            400  bad-request (with pointers if the body is invalid)
    │   ├── WeakPassword          400  weak-password
    │   ├── InvalidCode           400  invalid-code
    │   ├── InvalidSignature      400  invalid-signature
    │   └── WrongMode             400  wrong-mode
    ├── Unauthorized              401  unauthorized
    │   ├── InvalidCredentials    401  invalid-credentials
    │   └── TokenReused           401  token-reused
    ├── ModelNotIncluded          403  model-not-included
    ├── IdentityNotProven         403  identity-not-proven
    ├── AccountSuspended          403  account-suspended
    ├── NotFound                  404  not-found
    ├── Conflict                  409  one class per case:
    │   ├── Contended             409  concurrent-requests
    │   ├── IdentityTaken         409  identity-taken
    │   ├── IdentityNotVerified   409  identity-not-verified
    │   ├── KeyInUse              409  key-in-use
    │   ├── NotFailed             409  not-failed
    │   ├── NotGenerating         409  not-generating
    │   ├── ChangedMeanwhile      409  changed-meanwhile
    │   ├── NothingToUndo         409  nothing-to-undo
    │   ├── TooManyEdits          409  too-many-edits
    │   ├── StillGenerating       409  still-generating
    │   ├── RoomTooLong           409  room-too-long
    │   ├── TooManyRooms          409  too-many-rooms
    │   ├── AlreadySubscribed     409  already-subscribed
    │   ├── NoSubscription        409  no-subscription
    │   ├── NoCustomer            409  no-customer
    │   ├── PaymentInProgress     409  payment-in-progress
    │   └── PaymentsOff           409  payments-off
    ├── BodyTooLarge              413  body-too-large
    ├── UnsupportedMedia          415  unsupported-media-type
    ├── KeyReused                 422  key-reused
    ├── TooManyRequests           429  too-many-requests
    │   ├── TooManyInFlight       429  too-many-in-flight
    │   ├── StageLimit            429  service-limit
    │   └── QuotaExceeded         429  quota-exceeded
    │       ├── OutOfTokens       429  token-limit
    │       ├── SpendingLimit     429  spending-limit
    │       └── TooManyAttempts   429  too-many-attempts
    ├── BadGateway                502  one class per service:
    │   ├── DeliveryFailed        502  delivery-failed
    │   └── PaymentProviderFailed 502  payment-provider
    └── Unavailable               503  unavailable

A class's docstring describes its code in the OpenAPI document; `detail` is a sentence for the
caller. `geminichat.api` turns an error into problem details (RFC 9457).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import msgspec

PROBLEM_TYPE = "urn:geminichat:problem:"
"""The beginning of every error's type URI; the error's code follows."""


class FieldProblem(msgspec.Struct, frozen=True):
    """A problem in a request body: its place (a JSON pointer, RFC 6901) and its explanation."""

    pointer: str
    detail: str


class InvalidField(ValueError):
    """A field of a body breaks a rule; raised while the body is parsed."""

    def __init__(self, name: str, detail: str) -> None:
        """Store the field's name, as in the JSON body, and the explanation of the problem."""
        super().__init__(detail)
        self.name = name


class AppError(Exception):
    """A bug on our side. Include the request's id when you report it."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    code: ClassVar[str] = "internal-error"
    own_headers: ClassVar[Mapping[str, str]] = {}
    detail: str
    errors: Sequence[FieldProblem] = ()

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        """Store the details of this case; status, title and code come from the class."""
        self.detail = self.detail if detail is None else detail
        super().__init__(self.detail)
        self.errors = errors or self.errors
        self.headers = {**self.own_headers, **(headers or {})}
        self.extensions = extensions or {}


class InvalidRequest(AppError):
    """The request is malformed, or one of its fields is invalid."""

    status = 400
    title = "Bad request"
    code = "bad-request"

    @classmethod
    def at(cls, problems: Mapping[str, str]) -> Self:
        """Return the error for `problems`, which maps JSON pointers to explanations."""
        listed = [FieldProblem(pointer, detail) for pointer, detail in problems.items()]
        first = listed[0]
        return cls(f"The request body is invalid. {first.pointer}: {first.detail}.", errors=listed)


class WeakPassword(InvalidRequest):
    """The password is too short or common, or built from a sequence, the email or the number."""

    code = "weak-password"


class InvalidCode(InvalidRequest):
    """The one-time code is wrong, expired or used, or has no tries left."""

    code = "invalid-code"
    detail = "The request body is invalid. /otp: The code is wrong or has expired."
    errors = (FieldProblem("/otp", "The code is wrong or has expired"),)


class InvalidSignature(InvalidRequest):
    """The body was not signed with this endpoint's secret within the last five minutes."""

    code = "invalid-signature"
    detail = "The body was not signed with this endpoint's secret within the last five minutes."


class WrongMode(InvalidRequest):
    """A test event was sent to a live endpoint, or a live event to a test endpoint."""

    code = "wrong-mode"


class Unauthorized(AppError):
    """The access token is missing, invalid or expired, or its session has ended."""

    status = 401
    title = "Unauthorized"
    code = "unauthorized"
    detail = "Send a valid access token: 'Authorization: Bearer …'."
    own_headers: ClassVar = {"www-authenticate": "Bearer"}
    """RFC 9110, 11.6.1."""


class InvalidCredentials(Unauthorized):
    """The email address, mobile number or password is wrong; the answer never says which."""

    code = "invalid-credentials"
    detail = "The email address, mobile number or password is wrong."


class TokenReused(Unauthorized):
    """The refresh token was used before, so its session has ended."""

    code = "token-reused"
    detail = "The refresh token was used before: the session has ended."


class ModelNotIncluded(AppError):
    """The user's plan does not include the model."""

    status = 403
    title = "Forbidden"
    code = "model-not-included"
    detail = "Your plan does not include this model. Choose another model, or change your plan."


class IdentityNotProven(AppError):
    """The account has neither a verified email nor a verified mobile number."""

    status = 403
    title = "Forbidden"
    code = "identity-not-proven"
    detail = (
        "Verify your email or your mobile number first: POST /auth/send-otp, then POST "
        "/auth/verify-otp."
    )


class AccountSuspended(AppError):
    """An operator has suspended the account."""

    status = 403
    title = "Forbidden"
    code = "account-suspended"
    detail = "This account is suspended. Ask our support for the reason."


class NotFound(AppError):
    """The resource does not exist, or belongs to someone else."""

    status = 404
    title = "Not found"
    code = "not-found"
    detail = "There is no such resource."


class Conflict(AppError):
    """The state of the resource does not allow the request."""

    status = 409
    title = "Conflict"
    code = "conflict"


class Contended(Conflict):
    """Other requests kept changing the same data; retrying is safe."""

    code = "concurrent-requests"
    detail = "Other requests are changing the same data. Try again in a moment."
    own_headers: ClassVar = {"retry-after": "1"}


class IdentityTaken(Conflict):
    """The email address or mobile number already belongs to an account."""

    code = "identity-taken"
    detail = (
        "This email address or mobile number already belongs to an account. If the account is "
        "yours, log in with its password or with a code from POST /auth/send-otp."
    )


class IdentityNotVerified(Conflict):
    """The email address or mobile number of the sign-up is not verified yet."""

    code = "identity-not-verified"
    detail = "First verify the email address or mobile number that you signed up with."


class KeyInUse(Conflict):
    """Another request with the same Idempotency-Key is in progress."""

    code = "key-in-use"
    detail = "Another request with this Idempotency-Key is in progress. Retry in a moment."


class NotFailed(Conflict):
    """The prompt has not failed; only a failed prompt can be retried."""

    code = "not-failed"
    detail = "Only a failed prompt can be retried."


class NotGenerating(Conflict):
    """The prompt has ended already, so there is nothing to stop."""

    code = "not-generating"
    detail = "Only a queued or generating prompt can be stopped."


class ChangedMeanwhile(Conflict):
    """The room has changed, or the message is hidden: load the room again."""

    code = "changed-meanwhile"
    detail = "The conversation has changed meanwhile. Load the chatroom again."


class NothingToUndo(Conflict):
    """No edit or regeneration is left to undo."""

    code = "nothing-to-undo"
    detail = "This chatroom has no edit or regeneration to undo."


class TooManyEdits(Conflict):
    """The room has been edited in 50 places, which is the maximum; a fork starts without edits."""

    code = "too-many-edits"
    detail = (
        "This chatroom has been edited in too many places. New prompts are still accepted. To edit "
        "again, fork it: POST /chatroom/{id}/fork."
    )


class StillGenerating(Conflict):
    """A prompt that the fork would copy has no reply yet."""

    code = "still-generating"
    detail = "One of the prompts to copy is still being answered. Fork when it has ended."


class RoomTooLong(Conflict):
    """The room is too long to fork up to this message."""

    code = "room-too-long"
    detail = "A fork copies at most 2,000 messages and at most 4 MB. Fork at an earlier message."


class TooManyRooms(Conflict):
    """The user has as many chatrooms as their plan allows."""

    code = "too-many-rooms"


class AlreadySubscribed(Conflict):
    """The user already has a subscription; `detail` says how to proceed."""

    code = "already-subscribed"
    detail = "You already have a subscription. See GET /subscription/status."


class NoSubscription(Conflict):
    """The user has no subscription that could be changed."""

    code = "no-subscription"
    detail = "There is no subscription. Start one with POST /subscribe/pro."


class NoCustomer(Conflict):
    """The user is not a customer at Stripe yet."""

    code = "no-customer"
    detail = "There is no subscription to manage yet. Subscribe first: POST /subscribe/pro."


class PaymentInProgress(Conflict):
    """Another request is changing the same customer at Stripe."""

    code = "payment-in-progress"
    detail = "Another request for this subscription is in progress. Try again in a moment."


class PaymentsOff(Conflict):
    """Payments are not configured in this stage."""

    code = "payments-off"
    detail = "Payments are not configured here."


class BodyTooLarge(AppError):
    """The body is larger than the API accepts."""

    status = 413
    title = "Content too large"
    code = "body-too-large"


class UnsupportedMedia(AppError):
    """The content type is not JSON."""

    status = 415
    title = "Unsupported media type"
    code = "unsupported-media-type"
    detail = "Send the body as 'content-type: application/json'."


class KeyReused(AppError):
    """The Idempotency-Key was used before, for a different request."""

    status = 422
    title = "Unprocessable content"
    code = "key-reused"
    detail = "This Idempotency-Key was used for another request. Use a new key."


class TooManyRequests(AppError):
    """A limit is reached; try again after `Retry-After` seconds."""

    status = 429
    title = "Too many requests"
    code = "too-many-requests"

    def __init__(self, detail: str, *, retry_after: int = 1, **more: Any) -> None:
        """Set the header Retry-After (RFC 9110, 10.2.3) to one second or more."""
        super().__init__(detail, **more)
        self.retry_after = retry_after
        self.headers = {"retry-after": str(max(1, retry_after)), **self.headers}


class QuotaExceeded(TooManyRequests):
    """The daily quota of prompts is used up."""

    code = "quota-exceeded"


class OutOfTokens(QuotaExceeded):
    """The daily quota of tokens is used up."""

    code = "token-limit"


class SpendingLimit(QuotaExceeded):
    """The prompt could cost more than the user may still spend today."""

    code = "spending-limit"


class TooManyAttempts(QuotaExceeded):
    """The daily quota of prompts and retries is used up; refunds do not restore it."""

    code = "too-many-attempts"


class TooManyInFlight(TooManyRequests):
    """The user has as many prompts in flight as the plan allows."""

    code = "too-many-in-flight"


class StageLimit(TooManyRequests):
    """All users together have used up the service's daily budget for prompts."""

    code = "service-limit"


class BadGateway(AppError):
    """A service that this API depends on failed."""

    status = 502
    title = "Bad gateway"
    code = "bad-gateway"


class DeliveryFailed(BadGateway):
    """The one-time code could not be sent."""

    code = "delivery-failed"
    detail = "The code could not be sent. Request another code in 30 seconds."


class PaymentProviderFailed(BadGateway):
    """Stripe is down or slow, or rejected the request."""

    code = "payment-provider"
    detail = "The payment provider did not answer as expected. Try again in a moment."


class Unavailable(AppError):
    """The API, or a service that it depends on, is down or overloaded; retrying is safe."""

    status = 503
    title = "Service unavailable"
    code = "unavailable"
    detail = "The service is busy. Try again in a moment."
    own_headers: ClassVar = {"retry-after": "1"}
