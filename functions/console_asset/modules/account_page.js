// The account: identities, password, plan, and signing out.

import { html } from "./html.js";
import { account } from "./account.js";
import { useAction, Trouble } from "./forms.js";
import { signOut } from "./session.js";
import { useStore } from "./store.js";

export function AccountPage({ header }) {
  const user = useStore(account);
  const [leave, isBusy, problem] = useAction(signOut);
  return html`
    <main class="page" id="main">
      ${header("Account")}
      <div class="column">
        <p>${user?.email ?? user?.mobile}</p>
        <button disabled=${isBusy} onClick=${() => leave()}>Sign out</button>
        <${Trouble} problem=${problem} />
      </div>
    </main>
  `;
}
