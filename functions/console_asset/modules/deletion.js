// The deletion of the account. Its user can undo it by signing in before the purge.

import { html } from "./html.js";
import { date } from "./format.js";
import { ProvenAction } from "./proof.js";
import { call, leave } from "./session.js";

export function AccountDeletion({ user }) {
  async function remove(proof) {
    const { purgeAt } = await call("DELETE", "/user", { body: proof });
    leave(`Your account will be deleted on ${date(purgeAt)}. Sign in before then to keep it.`);
  }
  return html`
    <section class="card" aria-labelledby="deletion">
      <h2 id="deletion">Delete the account</h2>
      <p>This ends your subscription and deletes your chats. You will see a date: sign in before that date to keep your account.</p>
      <${ProvenAction} user=${user} action=${remove} label="Delete my account" cancel="Keep my account" style="danger" />
    </section>
  `;
}
