// The page of the account: plan, identities, password, sessions, export and deletion.

import { html } from "./html.js";
import { account } from "./account.js";
import { AccountDeletion } from "./deletion.js";
import { AccountExport } from "./export.js";
import { Trouble, useAction } from "./forms.js";
import { Identities } from "./identities.js";
import { Password } from "./password.js";
import { PlanCard } from "./plan.js";
import { signOut } from "./session.js";
import { useStore } from "./store.js";

export function AccountPage({ header, hasPaid }) {
  const user = useStore(account);
  return html`
    <main class="page" id="main">
      ${header("Account")}
      <div class="column cards">
        ${!user && html`<p class="note">Loading …</p>`}
        ${user && html`
          <${PlanCard} user=${user} hasPaid=${hasPaid} />
          <${Identities} user=${user} />
          <${Password} user=${user} />
          <${Sessions} />
          <${AccountExport} user=${user} />
          <${AccountDeletion} user=${user} />
        `}
      </div>
    </main>
  `;
}

function Sessions() {
  const [leave, isBusy, problem] = useAction(signOut);
  return html`
    <section class="card" aria-labelledby="sessions">
      <h2 id="sessions">Sign out</h2>
      <div class="row">
        <button disabled=${isBusy} onClick=${() => leave(false)}>Sign out</button>
        <button disabled=${isBusy} onClick=${() => leave(true)}>Sign out on all devices</button>
      </div>
      <${Trouble} problem=${problem} />
    </section>
  `;
}
