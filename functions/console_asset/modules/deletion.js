// Deleting the account, which its user can undo by signing in before it is purged.

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
      <p>This ends your subscription and deletes your chats. Until the date that you are told you can sign in to undo it.</p>
      <${ProvenAction} user=${user} action=${remove} label="Delete my account" cancel="Keep my account" style="danger" />
    </section>
  `;
}
