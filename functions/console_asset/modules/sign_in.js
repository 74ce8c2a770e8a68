// Signing in by code or by password, creating an account, and resetting a password.

import { html, useState } from "./html.js";
import { send } from "./api.js";
import { CodeField, identityOf, requestCode } from "./codes.js";
import { Field, Form } from "./forms.js";
import { begin, deviceToken } from "./session.js";

const PASSWORD_HINT = "At least 8 characters";

export function SignIn({ notice }) {
  const [step, go] = useState({ name: "code" });
  const Step = STEPS[step.name];
  return html`
    <main class="sign-in">
      <div class="card">
        <img class="logo" src="console/icon.svg" alt="" width="48" height="48" />
        <h1>Gemini Chat</h1>
        ${notice && html`<p class="notice" role="alert">${notice}</p>`}
        <${Step} step=${step} go=${go} />
      </div>
    </main>
  `;
}

function IdentityField({ value }) {
  return html`<${Field} label="Email or mobile number" name="identity" value=${value} required autofocus
    autocomplete="username" autocapitalize="none" spellcheck=${false} />`;
}

function AskForCode({ step, go }) {
  async function ask({ identity }) {
    go({ name: "enter", identity, sent: await requestCode(identityOf(identity), "login") });
  }
  return html`
    <p>Sign in with a code. If you are new, this creates your account.</p>
    <${Form} action=${ask} submit="Send me a code"><${IdentityField} value=${step.identity} /><//>
    <p class="ways">
      <button class="link" onClick=${() => go({ name: "password" })}>Use a password</button>
      <button class="link" onClick=${() => go({ name: "create" })}>Create an account with a password</button>
    </p>
  `;
}

function EnterCode({ step, go }) {
  const { identity, sent } = step;
  async function verify({ otp }) {
    begin(await send("POST", "/auth/verify-otp", { body: { ...identityOf(identity), otp, challenge: sent.challenge } }));
  }
  async function again() {
    go({ ...step, sent: await requestCode(identityOf(identity), "login") });
  }
  return html`
    <p>We sent a code to <strong>${identity}</strong>.</p>
    <${Form} action=${verify} submit="Sign in"><${CodeField} sent=${sent} onAgain=${again} /><//>
    <p class="ways"><button class="link" onClick=${() => go({ name: "code", identity })}>Back</button></p>
  `;
}

function UsePassword({ go }) {
  async function logIn({ identity, password }) {
    begin(await send("POST", "/auth/login", { body: { ...identityOf(identity), password, deviceToken: deviceToken() } }));
  }
  return html`
    <p>Sign in with your password.</p>
    <${Form} action=${logIn} submit="Sign in">
      <${IdentityField} />
      <${Field} label="Password" name="password" type="password" required autocomplete="current-password" />
    <//>
    <p class="ways">
      <button class="link" onClick=${() => go({ name: "code" })}>Use a code</button>
      <button class="link" onClick=${() => go({ name: "forgot" })}>Forgot your password?</button>
    </p>
  `;
}

function CreateAccount({ go }) {
  async function create({ email, password }) {
    begin(await send("POST", "/auth/signup", { body: { email, password } }));
  }
  return html`
    <p>Create an account.</p>
    <${Form} action=${create} submit="Create the account">
      <${Field} label="Email" name="email" type="email" required autofocus autocomplete="username" />
      <${Field} label="Password" name="password" type="password" required autocomplete="new-password"
        minlength="8" maxlength="128" hint=${PASSWORD_HINT} />
    <//>
    <p class="ways"><button class="link" onClick=${() => go({ name: "code" })}>Use a code</button></p>
  `;
}

function ForgotPassword({ go }) {
  async function ask({ identity }) {
    go({ name: "reset", identity, sent: await requestCode(identityOf(identity), "reset") });
  }
  return html`
    <p>We send you a code with which you can set a new password.</p>
    <${Form} action=${ask} submit="Send me a code"><${IdentityField} /><//>
    <p class="ways"><button class="link" onClick=${() => go({ name: "password" })}>Back</button></p>
  `;
}

function ResetPassword({ step, go }) {
  const { identity, sent } = step;
  async function reset({ otp, newPassword }) {
    const proof = { ...identityOf(identity), otp, challenge: sent.challenge };
    await send("POST", "/auth/reset-password", { body: { ...proof, newPassword } });
    const login = { ...identityOf(identity), password: newPassword, deviceToken: deviceToken() };
    begin(await send("POST", "/auth/login", { body: login }));
  }
  async function again() {
    go({ ...step, sent: await requestCode(identityOf(identity), "reset") });
  }
  return html`
    <p>If <strong>${identity}</strong> has an account, we sent it a code.</p>
    <${Form} action=${reset} submit="Set the password and sign in">
      <${CodeField} sent=${sent} onAgain=${again} />
      <${Field} label="New password" name="newPassword" type="password" required autocomplete="new-password"
        minlength="8" maxlength="128" hint=${PASSWORD_HINT} />
    <//>
    <p class="ways"><button class="link" onClick=${() => go({ name: "password" })}>Back</button></p>
  `;
}

const STEPS = {
  code: AskForCode,
  enter: EnterCode,
  password: UsePassword,
  create: CreateAccount,
  forgot: ForgotPassword,
  reset: ResetPassword,
};
