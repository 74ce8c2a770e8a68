// One-time codes: the request for a code, and the field to enter it.

import { html, useRef } from "./html.js";
import { send } from "./api.js";
import { deviceToken } from "./session.js";
import { Field, Trouble, useAction } from "./forms.js";

// "ann@example.com" or "+44 20 7946 0000" as the API's field.
export function identityOf(text) {
  return text.includes("@") ? { email: text.trim() } : { mobile: text.trim() };
}

export async function requestCode(identity, purpose) {
  const path = purpose === "reset" ? "/auth/forgot-password" : "/auth/send-otp";
  const body = { ...identity, deviceToken: deviceToken() };
  return send("POST", path, { body: purpose === "reset" ? body : { ...body, purpose } });
}

// The field for a code; `sent` is the answer of `requestCode`. A stage for development shows the code.
export function CodeField({ sent, label = "Code", name = "otp", onAgain }) {
  const field = useRef();
  const [again, isBusy, problem] = useAction(onAgain);
  function fill() {
    field.current.value = sent.otp;
  }
  return html`
    <${Field} label=${label} name=${name} ref=${field} required autofocus inputmode="numeric"
      autocomplete="one-time-code" pattern="[0-9 ]{6,11}" title="Six digits" />
    ${sent.otp && html`<p class="hint">
      This stage is for development and shows the code: <strong class="code-shown">${sent.otp}</strong>
      <button type="button" class="link" onClick=${fill}>Fill in the code</button>
    </p>`}
    <button type="button" class="link" disabled=${isBusy} onClick=${again}>Send another code</button>
    <${Trouble} problem=${problem} />
  `;
}
