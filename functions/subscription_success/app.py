"""GET /subscription/success: where Stripe sends people back who have paid."""

from geminichat.api import Request, Response, endpoint
from geminichat.domain import pages


@endpoint(public=True)
def handler(_request: Request) -> Response:
    """Answer 200 with a page; what was paid comes with the webhook, not with this."""
    return Response(
        200,
        headers=pages.HEADERS,
        body=pages.page(
            "Thank you",
            "Your plan is up to date within a moment. You can close this page and go back to your "
            "chats.",
        ),
    )
