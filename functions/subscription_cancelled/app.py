"""GET /subscription/cancel: the page to which Stripe redirects people who did not pay."""

from geminichat import config
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
            "Your plan has not changed. You can close this page and subscribe at any time.",
            config.console_link("account"),
        ),
    )
