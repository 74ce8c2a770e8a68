// Setting or changing the password, which ends all other sessions.

import { html, useState } from "./html.js";
import { CodeField, requestCode } from "./codes.js";
import { Field, Form, Trouble, useAction } from "./forms.js";
import { provenIdentity } from "./identities.js";
import { begin, call } from "./session.js";

export function Password({ user }) {
  const [step, go] = useState({ name: "closed" });
  const canUseCode = user.emailVerified || user.mobileVerified;
  const askForCode = async () => go({ name: "code", sent: await requestCode(provenIdentity(user), "confirm") });
  const [useCode, isBusy, problem] = useAction(askForCode);

  async function change({ currentPassword, currentOtp, newPassword }) {
    const proof = step.name === "code" ? { currentOtp } : { currentPassword };
    begin(await call("POST", "/auth/change-password", { body: { ...proof, newPassword } }));
    go({ name: "done" });
  }
  return html`
    <section class="card" aria-labelledby="password">
      <h2 id="password">Password</h2>
      ${step.name === "done" && html`<p role="alert">The password was changed. All other sessions have ended.</p>`}
      ${["closed", "done"].includes(step.name)
        ? html`<button onClick=${() => go({ name: "password" })}>Change the password</button>`
        : html`
          <${Form} key=${step.name} action=${change} submit="Save the password">
            ${step.name === "code"
              ? html`<${CodeField} name="currentOtp" label="Code sent to ${Object.values(provenIdentity(user))[0]}"
                  sent=${step.sent} onAgain=${askForCode} />`
              : html`<${Field} label="Current password" name="currentPassword" type="password" required autofocus
                  autocomplete="current-password" />`}
            <${Field} label="New password" name="newPassword" type="password" required minlength="8" maxlength="128"
              autocomplete="new-password" hint="At least 8 characters. All other sessions end." />
          <//>
          <p class="ways">
            ${step.name === "password" && canUseCode && html`
              <button class="link" disabled=${isBusy} onClick=${useCode}>No password yet, or forgotten? Use a code</button>`}
            <button class="link" onClick=${() => go({ name: "closed" })}>Cancel</button>
          </p>`}
      <${Trouble} problem=${problem} />
    </section>
  `;
}
