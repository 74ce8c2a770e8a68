// The field in which a prompt is written.

import { html, useEffect, useRef, useState } from "./html.js";
import { draftOf, keepDraft } from "./drafts.js";
import { Trouble, useAction } from "./forms.js";
import { IconButton } from "./icons.js";

const LONGEST = 16_000; // characters

// `stop` stops the unfinished reply; it is null if there is none.
export function Composer({ roomId, send, stop }) {
  const [text, type] = useState(draftOf(roomId).text);
  const [submit, isBusy, problem] = useAction(async () => {
    if (!text.trim()) return;
    await send(text);
    change("");
  });
  const field = useRef();

  useEffect(() => {
    field.current.focus();
    if (draftOf(roomId).isReady) submit();
  }, []);

  function change(next) {
    type(next);
    keepDraft(roomId, next);
  }

  function press(event) {
    if (event.key === "Escape") return stop?.();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  }

  function clicked(event) {
    event.preventDefault();
    submit();
    field.current.focus();
  }

  return html`
    <form class="composer" onSubmit=${clicked}>
      <${Trouble} problem=${problem} />
      <div class="composer-box">
        <textarea ref=${field} rows="1" aria-label="Your prompt" placeholder="Ask Gemini" maxlength=${LONGEST}
          value=${text} onInput=${(event) => change(event.target.value)} onKeyDown=${press} />
        ${stop && html`<${IconButton} icon="stop" label="Stop the reply" onClick=${stop} />`}
        ${(!stop || text.trim()) &&
        html`<${IconButton} icon="send" label="Send" type="submit" disabled=${isBusy || !text.trim()} />`}
      </div>
      <p class="hint">Enter sends, Shift+Enter starts a new line, Escape stops a reply. Gemini can be wrong: check important answers.</p>
    </form>
  `;
}
