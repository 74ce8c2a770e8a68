// The plan: its limit, today's usage, and the purchase and cancellation of Pro.

import { html, useEffect, useState } from "./html.js";
import { changeSubscription, loadAccount, loadSubscription, subscription, visit } from "./account.js";
import { date, time, usageInWords } from "./format.js";
import { Trouble, useAction } from "./forms.js";
import { useStore } from "./store.js";

const CONFIRMATION = 30; // seconds in which the event of a payment usually arrives

export function PlanCard({ user, hasPaid }) {
  const state = useStore(subscription);
  useEffect(() => {
    loadSubscription().catch(() => {});
  }, []);
  const isPro = user.plan === "pro";
  return html`
    <section class="card" aria-labelledby="plan">
      <h2 id="plan">${isPro ? "Pro" : "Basic"} plan</h2>
      <p>${usageInWords(user.usage)}${user.usage.remaining > 0 && `. New prompts at ${time(user.usage.resetsAt)}`}.</p>
      ${hasPaid && !isPro && html`<${Confirmation} />`}
      ${state && state.status !== "none" && html`<p>${statusInWords(state)}</p>`}
      ${state?.grantedUntil && html`<p>You have Pro as a gift until ${date(state.grantedUntil)}.</p>`}
      ${state && html`<${Choices} state=${state} isPro=${isPro} />`}
    </section>
  `;
}

function statusInWords({ status, currentPeriodEnd, cancelAtPeriodEnd }) {
  if (status === "canceled") return "Your subscription has ended.";
  if (status === "past_due" || status === "unpaid") return "Your last payment failed. Pay the invoice in the billing portal.";
  if (!currentPeriodEnd) return `Your subscription is ${status.replaceAll("_", " ")}.`;
  const end = date(currentPeriodEnd);
  return cancelAtPeriodEnd ? `Your subscription ends on ${end}. Until then you keep Pro.` : `Your subscription renews on ${end}.`;
}

function Choices({ state, isPro }) {
  const [run, isBusy, problem] = useAction((action) => action());
  const button = (label, action, style) =>
    html`<button class=${style} disabled=${isBusy} onClick=${() => run(action)}>${label}</button>`;
  const isOngoing = state.status !== "none" && state.status !== "canceled";
  return html`
    <div class="row">
      ${(!isPro || state.grantedUntil) && !isOngoing && button("Get Pro", () => visit("/subscribe/pro"), "primary")}
      ${state.status !== "none" && button("Billing portal", () => visit("/subscription/portal"))}
      ${isOngoing && !state.cancelAtPeriodEnd && button("Cancel the subscription", () => changeSubscription("/subscription/cancel"))}
      ${isOngoing && state.cancelAtPeriodEnd && button("Keep the subscription", () => changeSubscription("/subscription/resume"))}
    </div>
    <${Trouble} problem=${problem} />
  `;
}

// Polls until the event of the payment has arrived.
function Confirmation() {
  const [seconds, wait] = useState(0);
  useEffect(() => {
    if (seconds >= CONFIRMATION) return undefined;
    const timer = setTimeout(async () => {
      await Promise.all([loadAccount(), loadSubscription()]).catch(() => {});
      wait(seconds + 1);
    }, 1_000);
    return () => clearTimeout(timer);
  }, [seconds]);
  return html`<p class="notice" role="alert">
    ${seconds < CONFIRMATION ? "Your payment is being confirmed …" : "Your payment is not confirmed yet. Open this page again in a moment."}
  </p>`;
}
