// Exporting the account: an archive that is prepared in the background and kept for a day.

import { html, useEffect, useState } from "./html.js";
import { time } from "./format.js";
import { Trouble, useAction } from "./forms.js";
import { ProvenAction } from "./proof.js";
import { call } from "./session.js";

const PAUSE = 2_000; // milliseconds between two polls of an unfinished export

export function AccountExport({ user }) {
  const [state, show] = useState(null);
  useEffect(() => {
    findExport().then(show, () => {});
  }, []);
  useEffect(() => {
    if (state?.status !== "preparing") return undefined;
    const timer = setTimeout(() => findExport().then(show, () => show({ ...state })), PAUSE);
    return () => clearTimeout(timer);
  }, [state]);
  const request = async (proof) => show(await call("POST", "/user/export", { body: proof }));
  return html`
    <section class="card" aria-labelledby="export">
      <h2 id="export">Export your data</h2>
      <p>${STATES[state?.status] ?? STATES.none}</p>
      ${state?.status === "ready" && html`<${Download} keptUntil=${state.keptUntil} />`}
      ${(!state || state.status === "failed") && html`
        <${ProvenAction} user=${user} action=${request} label="Export my data" cancel="Cancel" />`}
    </section>
  `;
}

const STATES = {
  none: "Once a day, you can request an archive of your account, your chats and everything you sent.",
  preparing: html`<span role="alert">Your data is being collected. This takes a few minutes.</span>`,
  ready: html`<span role="alert">Your archive is ready.</span>`,
  failed: html`<span role="alert">The archive could not be created. Try again.</span>`,
  "too-large": "Your data is too large for an archive. Ask the operator of this service for your data.",
};

// Returns the newest export, or null if there is none.
async function findExport() {
  try {
    return await call("GET", "/user/export");
  } catch (problem) {
    if (problem.code === "not-found") return null;
    throw problem;
  }
}

// The link to the archive is valid for minutes only, so each download requests a new link.
function Download({ keptUntil }) {
  const [download, isBusy, problem] = useAction(async () => location.assign((await call("GET", "/user/export")).url));
  return html`
    <button class="primary" disabled=${isBusy} onClick=${download}>Download the archive</button>
    <p class="hint">Available until ${time(keptUntil)}.</p>
    <${Trouble} problem=${problem} />
  `;
}
