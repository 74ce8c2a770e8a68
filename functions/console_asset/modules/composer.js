// The field in which a prompt is written.

import { html, useLayoutEffect, useRef, useState } from "./html.js";
import { draftOf, keepDraft } from "./drafts.js";
import { Trouble } from "./forms.js";
import { IconButton } from "./icons.js";

const LONGEST = 16_000; // characters

// `send(text, key)` sends a prompt; a repeated try has the same key, so that it is counted once.
export function Composer({ roomId, send, stop }) {
  const draft = draftOf(roomId);
  const [text, type] = useState(draft.text);
  const [problem, tell] = useState(draft.problem);
  const [isBusy, setBusy] = useState(false);
  const field = useRef();
  const key = useRef(crypto.randomUUID());

  useLayoutEffect(() => field.current.focus(), []);

  function change(next) {
    key.current = crypto.randomUUID();
    type(next);
    keepDraft(roomId, next);
  }

  async function submit(event) {
    event?.preventDefault();
    if (isBusy || !text.trim()) return;
    setBusy(true);
    tell(null);
    try {
      await send(text, key.current);
      change("");
    } catch (error) {
      tell(error);
    }
    setBusy(false);
    field.current?.focus();
  }

  function press(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    if (event.key === "Escape" && stop) stop();
  }

  return html`
    <form class="composer" onSubmit=${submit}>
      <${Trouble} problem=${problem} />
      <div class="composer-box">
        <textarea ref=${field} rows="1" aria-label="Your prompt" placeholder="Ask Gemini" maxlength=${LONGEST}
          value=${text} onInput=${(event) => change(event.target.value)} onKeyDown=${press} />
        ${stop
          ? html`<${IconButton} icon="stop" label="Stop the reply" onClick=${stop} />`
          : html`<${IconButton} icon="send" label="Send" type="submit" disabled=${isBusy || !text.trim()} />`}
      </div>
      <p class="hint">Enter sends, Shift+Enter starts a new line. Gemini can be wrong: check what matters.</p>
    </form>
  `;
}
