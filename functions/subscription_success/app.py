"""GET /subscription/success: the page to which Stripe redirects people who have paid."""

from geminichat import config
from geminichat.api import Request, Response, endpoint
from geminichat.domain import pages


@endpoint(public=True)
def handler(_request: Request) -> Response:
    """Answer 200 with a page; Stripe reports the payment itself to the webhook."""
    return Response(
        200,
        headers=pages.HEADERS,
        body=pages.page(
            "Thank you",
            "Your plan will be up to date in a moment. You can close this page and return to your "
            "chats.",
            config.console_link("account/paid"),
        ),
    )
