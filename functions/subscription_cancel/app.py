"""POST /subscription/cancel: let the subscription end with its period."""

from geminichat import payments, renewal
from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.billing import SubscriptionStatus


@endpoint(within=payments.WITHIN)
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status; doing it again changes nothing."""
    status = renewal.change(request, payments.end_with_period)
    return ok(status, "The subscription ends with its period; until then you keep the pro plan.")
