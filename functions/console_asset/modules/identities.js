// The email and the mobile number of an account: verifying, adding, replacing.

import { html, useState } from "./html.js";
import { account, loadAccount } from "./account.js";
import { CodeField, requestCode } from "./codes.js";
import { Field, Form, useAction, Trouble } from "./forms.js";
import { begin, call } from "./session.js";

const KINDS = [
  { kind: "email", name: "email", field: { type: "email", autocomplete: "email" } },
  { kind: "mobile", name: "mobile number", field: { type: "tel", autocomplete: "tel" } },
];

export function Identities({ user }) {
  return html`
    <section class="card" aria-labelledby="identities">
      <h2 id="identities">Email and mobile number</h2>
      ${KINDS.map((each) => html`<${Identity} key=${each.kind} user=${user} ...${each} />`)}
    </section>
  `;
}

function Identity({ user, kind, name, field }) {
  const [step, go] = useState(null);
  const value = user[kind];
  const isVerified = user[`${kind}Verified`];
  const canChange = user.emailVerified || user.mobileVerified;
  const done = () => go(null);
  const [verify, isBusy, problem] = useAction(async () => {
    go({ name: "verify", sent: await requestCode({ [kind]: value }, "login") });
  });
  return html`
    <div class="identity">
      <p>${value ?? `No ${name}`}${value && html` <span class="tag">${isVerified ? "verified" : "not verified"}</span>`}</p>
      ${!step && html`<div class="row">
        ${value && !isVerified && html`<button class="small" disabled=${isBusy} onClick=${verify}>Verify</button>`}
        ${canChange && html`<button class="small" onClick=${() => go({ name: "new" })}>
          ${value ? `Change the ${name}` : `Add ${kind === "email" ? "an" : "a"} ${name}`}</button>`}
      </div>`}
      ${step?.name === "verify" && html`<${Verification} identity=${{ [kind]: value }} step=${step} go=${go} done=${done} />`}
      ${step?.name === "new" && html`<${Replacement} user=${user} kind=${kind} name=${name} field=${field} go=${go} />`}
      ${step?.name === "prove" && html`<${Proof} step=${step} go=${go} done=${done} />`}
      ${step && html`<button class="link" onClick=${done}>Cancel</button>`}
      <${Trouble} problem=${problem} />
    </div>
  `;
}

function Verification({ identity, step, go, done }) {
  async function verify({ otp }) {
    const body = { ...identity, otp, challenge: step.sent.challenge };
    const { user, ...tokens } = await call("POST", "/auth/verify-otp", { body });
    begin(tokens);
    account.set(user);
    done();
  }
  const again = async () => go({ ...step, sent: await requestCode(identity, "login") });
  return html`<${Form} action=${verify} submit="Verify"><${CodeField} sent=${step.sent} onAgain=${again} /><//>`;
}

// Returns the verified identity to which the code that confirms a change is sent.
export function provenIdentity({ email, emailVerified, mobile }) {
  return emailVerified ? { email } : { mobile };
}

function Replacement({ user, kind, name, field, go }) {
  async function ask({ value }) {
    const identity = { [kind]: value };
    const proven = provenIdentity(user);
    const [sent, confirmation] = await Promise.all([requestCode(identity, "link"), requestCode(proven, "confirm")]);
    go({ name: "prove", identity, proven, sent, confirmation });
  }
  return html`
    <${Form} action=${ask} submit="Send the codes">
      <${Field} label="New ${name}" name="value" required autofocus ...${field}
        hint="We send a code to the new ${name}, and another code to ${Object.values(provenIdentity(user))[0]}." />
    <//>
  `;
}

function Proof({ step, go, done }) {
  const { identity, proven, sent, confirmation } = step;
  async function add({ otp, currentOtp }) {
    account.set(await call("POST", "/user/identity", { body: { ...identity, otp, challenge: sent.challenge, currentOtp } }));
    await loadAccount();
    done();
  }
  const again = async () => go({ ...step, sent: await requestCode(identity, "link") });
  const confirmAgain = async () => go({ ...step, confirmation: await requestCode(proven, "confirm") });
  return html`
    <${Form} action=${add} submit="Save">
      <${CodeField} label="Code sent to ${Object.values(identity)[0]}" sent=${sent} onAgain=${again} />
      <${CodeField} label="Code sent to ${Object.values(proven)[0]}" name="currentOtp" sent=${confirmation} onAgain=${confirmAgain} />
    <//>
  `;
}
