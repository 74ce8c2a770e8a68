"""POST /subscription/resume: let a subscription that would end go on."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain.billing import SubscriptionStatus
from geminichat.errors import NoSubscription, PaymentProviderFailed, PaymentsOff
from geminichat.operations import renew_subscription


@endpoint(within=payments.WITHIN, errors=[NoSubscription, PaymentProviderFailed, PaymentsOff])
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status; doing it again changes nothing."""
    status = renew_subscription.change(
        request.user_id, request.session_id, request.now, payments.renew_with_period
    )
    return ok(status, "The subscription goes on.")
