"""What a person sees of Stripe: the checkout page and the billing portal, plain HTML forms."""

from datetime import UTC, datetime
from html import escape

from infra.local.stripe.wire import Json

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 30rem; margin: 3rem auto; padding: 0 1rem }
button, input { font: inherit; padding: .5rem .8rem; margin: .2rem 0; width: 100% }
.note { color: #555; font-size: .9rem } .error { color: #b00020 } form { margin: .4rem 0 }
"""


def checkout(session: Json, product: str, email: str | None, error: str | None = None) -> str:
    """Return the page on which a person pays."""
    price = _money(session["amount_total"], session["currency"])
    ask = "" if email else '<input name="email" type="email" placeholder="Email" required>'
    known = f'<p class="note">{escape(email)}</p>' if email else ""
    failure = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return _page(
        "Checkout",
        f"""
<h1>Subscribe to {escape(product)}</h1>
<p id="price">{price} per period</p>
{known}{failure}
<form method="post">{ask}
{_button("pay", "Pay")}
{_button("pay-once", "Pay, and let every later payment be declined")}
{_button("debit", "Pay by bank debit, settled later")}
</form>
<form method="post">{_button("decline", "Decline")}</form>
{_back(session["cancel_url"])}""",
    )


def finished(status: str) -> str:
    """Return what the checkout page is when its session is no longer open."""
    said = "You have paid already." if status == "complete" else "This page has expired."
    return _page("Checkout", f"<h1>{said}</h1>")


def portal(session: Json, subscriptions: list[Json], said: str | None = None) -> str:
    """Return the billing portal: what the customer has, and what can be done about it."""
    note = f'<p role="status">{escape(said)}</p>' if said else ""
    parts = [_subscription(subscription) for subscription in subscriptions]
    plans = "".join(parts) or '<p id="none">No subscription.</p>'
    back = _back(session["return_url"])
    return _page("Billing", f"<h1>Your billing</h1>{note}{plans}{back}")


def _subscription(subscription: Json) -> str:
    item = subscription["items"]["data"][0]
    ends, cancel_at = item["current_period_end"], subscription["cancel_at"]
    line = f"cancels on {_moment(cancel_at)}" if cancel_at else f"renews on {_moment(ends)}"
    buttons = [
        _button("keep", "Don't cancel plan") if cancel_at else _button("cancel", "Cancel plan"),
        _button("good-card", "Use a card that pays"),
        _button("bad-card", "Use a card that is declined"),
    ]
    if subscription["status"] in ("past_due", "unpaid"):
        buttons.insert(0, _button("pay", "Pay what is open"))
    return f"""
<section data-subscription="{subscription["id"]}">
<p>Pro, {escape(subscription["status"])}, {line}</p>
<form method="post"><input type="hidden" name="subscription" value="{subscription["id"]}">
{"".join(buttons)}</form>
</section>"""


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>{body}'
        '<p class="note">A stand-in for Stripe: no money moves.</p></html>'
    )


def _button(name: str, text: str) -> str:
    return f'<button id="{name}" name="do" value="{name}">{text}</button>'


def _back(url: str | None) -> str:
    return f'<p><a id="back" href="{escape(url)}">Back</a></p>' if url else ""


def _money(amount: int, currency: str) -> str:
    return f"{amount / 100:.2f} {currency.upper()}"


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
