// A modal dialog; the browser keeps the focus inside, and returns it when the dialog closes.

import { html, useEffect, useId, useRef } from "./html.js";
import { IconButton } from "./icons.js";

export function Dialog({ title, close, children }) {
  const id = useId();
  const box = useRef();
  useEffect(() => box.current.showModal(), []);
  return html`
    <dialog ref=${box} aria-labelledby=${id} onClose=${close}>
      <div class="dialog-top">
        <h2 id=${id}>${title}</h2>
        <${IconButton} icon="close" label="Close" onClick=${() => box.current.close()} />
      </div>
      ${children}
    </dialog>
  `;
}
