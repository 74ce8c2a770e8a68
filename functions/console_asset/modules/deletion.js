// Deleting the account, which its user can undo by signing in before it is purged.

import { html, useState } from "./html.js";
import { CodeField, requestCode } from "./codes.js";
import { date } from "./format.js";
import { Field, Form, Trouble, useAction } from "./forms.js";
import { provenIdentity } from "./identities.js";
import { call, leave } from "./session.js";

export function AccountDeletion({ user }) {
  const [sent, choose] = useState(undefined); // null: by password
  const hasCode = user.emailVerified || user.mobileVerified;
  const ask = async () => choose(hasCode ? await requestCode(provenIdentity(user), "confirm") : null);
  const [begin, isBusy, problem] = useAction(ask);

  async function remove(proof) {
    const { purgeAt } = await call("DELETE", "/user", { body: proof });
    leave(`Your account will be deleted on ${date(purgeAt)}. Sign in before then to keep it.`);
  }
  return html`
    <section class="card" aria-labelledby="deletion">
      <h2 id="deletion">Delete the account</h2>
      <p>This ends your subscription and deletes your chats. Until the date that you are told you can sign in to undo it.</p>
      ${sent === undefined
        ? html`<button class="danger" disabled=${isBusy} onClick=${begin}>Delete my account</button>`
        : html`
          <${Form} action=${remove} submit="Delete my account">
            ${sent
              ? html`<${CodeField} name="currentOtp" label="Code sent to ${Object.values(provenIdentity(user))[0]}" sent=${sent} onAgain=${ask} />`
              : html`<${Field} label="Current password" name="currentPassword" type="password" required autocomplete="current-password" />`}
          <//>
          <button class="link" onClick=${() => choose(undefined)}>Keep my account</button>`}
      <${Trouble} problem=${problem} />
    </section>
  `;
}
