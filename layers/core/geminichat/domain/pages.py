"""The HTML pages to which Stripe redirects: no script, no external resources."""

from collections.abc import Mapping
from html import escape

HEADERS: Mapping[str, str] = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_STYLE = "body{font:18px/1.6 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}"


def page(title: str, text: str, link: str = "") -> str:
    """Return an HTML page with a title and a paragraph; a `link` leads to the chats."""
    back = f'<p><a href="{escape(link)}">Back to the chats</a></p>' if link else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1><p>{escape(text)}</p>{back}</body></html>"
    )
