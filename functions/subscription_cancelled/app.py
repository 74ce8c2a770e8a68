"""GET /subscription/cancel: where Stripe sends people back who left without paying."""

from geminichat.api import Request, Response, endpoint
from geminichat.domain import pages


@endpoint(public=True)
def handler(_request: Request) -> Response:
    """Answer 200 with a page."""
    return Response(
        200,
        headers=pages.HEADERS,
        body=pages.page(
            "Nothing was paid",
            "Your plan is as it was. You can close this page, and subscribe whenever you like.",
        ),
    )
