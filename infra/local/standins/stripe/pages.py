"""The HTML of the Checkout page and the billing portal: plain forms.

The forms work without the script, which only shows that a form was sent.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from infra.local.standins.stripe.protocol import Json

STYLE = """
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1f36; background: #f6f8fa;
  max-width: 32rem; margin: 0 auto; padding: 2rem 1rem }
main { background: #fff; border: 1px solid #d8dee4; border-radius: .6rem; padding: 1.5rem }
h1 { font-size: 1.3rem; margin: 0 0 .5rem } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem }
p { margin: .3rem 0 } form { margin: 1rem 0 0 } label { display: block; font-weight: 600 }
button, input { font: inherit; width: 100%; padding: .6rem .8rem; margin: .25rem 0;
  border: 1px solid #8792a2; border-radius: .4rem; background: #fff; color: inherit }
button { cursor: pointer } button:hover { background: #f0f3f7 }
button.first { background: #0a5bd3; border-color: #0a5bd3; color: #fff; font-weight: 600 }
button.first:hover { background: #084aab } button:disabled { opacity: .55; cursor: progress }
:focus-visible { outline: 3px solid #f5a623; outline-offset: 2px }
table { width: 100%; border-collapse: collapse; font-size: .9rem } td { padding: .2rem 0 }
td:last-child { text-align: right } a { color: #0a5bd3 }
.price { font-size: 1.6rem; font-weight: 600 } .note { color: #57606a; font-size: .9rem }
.back { margin-top: 1.2rem } [role] { border-radius: .4rem; padding: .6rem .8rem; margin: .6rem 0 }
[role=alert] { background: #ffebe9; color: #82071e } [role=status] { background: #dafbe1 }
"""

SCRIPT = """
addEventListener("submit", event => setTimeout(() => {  // not before the form's data is taken
  event.submitter.textContent = "One moment …";
  document.querySelectorAll("button").forEach(button => button.disabled = true);
}));
addEventListener("pageshow", event => event.persisted && location.reload());
"""

type Result = tuple[str, str] | None
"""The ARIA role (status or alert) and the text of a message."""


def checkout(session: Json, price: Json, product: str, email: str | None, result: Result) -> str:
    """Return the Checkout page."""
    if email:
        ask = f'<p class="note">Receipts go to {escape(email)}</p>'
    else:
        typed = escape(session.get("_email") or "")
        focus = "" if result else "autofocus"
        ask = (
            '<label for="email">Email</label><input id="email" name="email" type="email" '
            f'autocomplete="email" placeholder="you@example.com" value="{typed}" required {focus}>'
        )
    return _page(
        f"Subscribe to {product}",
        f"""
<p class="price" id="price">{_money(session["amount_total"], session["currency"])}
  <span class="note">{_every(price)}</span></p>
{_message(result)}
<form method="post">{ask}
{_button("pay", "Pay", first=True)}
<h2>Or try what happens if</h2>
{_button("decline", "the card is declined", skips_validation=True)}
{_button("pay-once", "the card pays once, and later payments are declined")}
{_button("debit", "a bank debit is settled later")}
</form>
{_back(session["cancel_url"])}""",
    )


def closed_checkout(session: Json) -> str:
    """Return the Checkout page of a session that is no longer open."""
    if session["status"] == "complete":
        return _page("You have already paid", _back(session["success_url"]))
    return _page("This page has expired", _back(session["cancel_url"]))


def not_found(message: str) -> str:
    """Return the page for an unknown URL."""
    return _page("Page not found", f'<p class="note">{escape(message)}</p>')


def portal(
    session: Json,
    subscriptions: Sequence[tuple[Json, str]],
    invoices: Sequence[Json],
    result: Result,
) -> str:
    """Return the billing portal; each subscription comes with the last digits of its card."""
    plans = "".join(_subscription(*one) for one in subscriptions)
    rows = "".join(
        f"<tr><td>{_day(invoice['created'])}<td>{escape(invoice['status'])}"
        f"<td>{_money(invoice['amount_due'], invoice['currency'])}"
        for invoice in invoices
    )
    history = f"<h2>Invoices</h2><table>{rows}</table>" if rows else ""
    return _page(
        "Your billing",
        f"""{_message(result)}
{plans or '<p id="none">No subscription.</p>'}
{history}
{_back(session["return_url"])}""",
    )


def _subscription(subscription: Json, last4: str) -> str:
    item = subscription["items"]["data"][0]
    ends, cancel_at = item["current_period_end"], subscription["cancel_at"]
    line = f"cancels on {_moment(cancel_at)}" if cancel_at else f"renews on {_moment(ends)}"
    owes = subscription["status"] in ("past_due", "unpaid")
    buttons = [
        _button("pay", "Pay open invoices", first=True) if owes else "",
        _button("keep", "Keep plan") if cancel_at else _button("cancel", "Cancel plan"),
        _button("good-card", "Use a card that pays"),
        _button("bad-card", "Use a card that is declined"),
        "<h2>Or try what happens if</h2>",
        _button("end-period", "the period ends now"),
    ]
    return f"""
<section data-subscription="{subscription["id"]}">
<p><strong>Pro</strong>, {escape(subscription["status"].replace("_", " "))}, {line}</p>
<p class="note">{_money(item["price"]["unit_amount"], subscription["currency"])}
  {_every(item["price"])}, card ending in {escape(last4)}</p>
<form method="post"><input type="hidden" name="subscription" value="{subscription["id"]}">
{"".join(buttons)}</form>
</section>"""


def _page(heading: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(heading)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style>'
        f"<main><h1>{escape(heading)}</h1>{body}</main>"
        '<p class="note">A stand-in for Stripe: no money moves.</p>'
        f"<script>{SCRIPT}</script></html>"
    )


def _message(result: Result) -> str:
    """Return the HTML of a message that receives the focus, for keyboards and screen readers."""
    if result is None:
        return ""
    role, text = result
    return f'<p role="{role}" tabindex="-1" autofocus>{escape(text)}</p>'


def _button(name: str, text: str, *, first: bool = False, skips_validation: bool = False) -> str:
    kind = ' class="first"' if first else ""
    skip = " formnovalidate" if skips_validation else ""
    return f'<button id="{name}" name="do" value="{name}"{kind}{skip}>{text}</button>'


def _back(url: str | None) -> str:
    return f'<p class="back"><a id="back" href="{escape(url)}">Back</a></p>' if url else ""


def _money(amount: int, currency: str) -> str:
    return f"{amount / 100:.2f} {currency.upper()}"


def _every(price: Json) -> str:
    interval, count = price["recurring"]["interval"], price["recurring"]["interval_count"]
    return f"every {interval}" if count == 1 else f"every {count} {interval}s"


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
