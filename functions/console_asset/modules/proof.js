// A button whose action requires a fresh proof: a code to a proven identity, or the password.

import { html, useState } from "./html.js";
import { CodeField, requestCode } from "./codes.js";
import { Field, Form, Trouble, useAction } from "./forms.js";
import { provenIdentity } from "./identities.js";

export function ProvenAction({ user, action, label, cancel, style = "" }) {
  const [sent, choose] = useState(undefined); // null: by password
  const hasCode = user.emailVerified || user.mobileVerified;
  const ask = async () => choose(hasCode ? await requestCode(provenIdentity(user), "confirm") : null);
  const [begin, isBusy, problem] = useAction(ask);
  return html`
    ${sent === undefined
      ? html`<button class=${style} disabled=${isBusy} onClick=${begin}>${label}</button>`
      : html`
        <${Form} action=${action} submit=${label}>
          ${sent
            ? html`<${CodeField} name="currentOtp" label="Code sent to ${Object.values(provenIdentity(user))[0]}" sent=${sent} onAgain=${ask} />`
            : html`<${Field} label="Current password" name="currentPassword" type="password" required autofocus autocomplete="current-password" />`}
        <//>
        <button class="link" onClick=${() => choose(undefined)}>${cancel}</button>`}
    <${Trouble} problem=${problem} />
  `;
}
