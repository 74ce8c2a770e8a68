// The messages of a chat, and the reply that is being written.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { isUnfinished } from "./conversation.js";
import { IconButton } from "./icons.js";
import { highlight, renderMarkdown } from "./markdown.js";
import { useAction, Trouble } from "./forms.js";

export function Prompt({ message, text, actions }) {
  return html`
    <article class="prompt" aria-label="You">
      <p class="bubble">${message.content}</p>
    </article>
    ${isUnfinished(message) && html`<${Growing} text=${text} status=${message.status} />`}
    ${message.status === "failed" && html`<${Failure} message=${message} actions=${actions} />`}
  `;
}

export function Reply({ message }) {
  return html`
    <article class="reply" aria-label="Gemini">
      <${Markdown} text=${message.content} isFinished />
      ${NOTES[message.finish] && html`<p class="note">${NOTES[message.finish]}</p>`}
      <div class="actions">
        <${CopyButton} text=${message.content} />
      </div>
    </article>
  `;
}

const NOTES = {
  stopped: "You stopped this reply.",
  length: "This reply reached its maximum length.",
};

function Growing({ text, status }) {
  return html`
    <article class="reply growing" aria-label="Gemini" aria-busy="true">
      ${text
        ? html`<${Markdown} text=${text.text} />`
        : html`<p class="waiting"><span class="dots" aria-hidden="true"><i /><i /><i /></span>
            ${status === "queued" ? "Waiting for Gemini" : "Gemini is thinking"}</p>`}
    </article>
  `;
}

function Failure({ message, actions }) {
  const [retry, isBusy, problem] = useAction(() => actions.retry(message.id));
  return html`
    <div class="failure">
      <p>${message.error?.message ?? "This prompt failed."}</p>
      <button class="small" disabled=${isBusy} onClick=${retry}>Try again</button>
      <${Trouble} problem=${problem} />
    </div>
  `;
}

function Markdown({ text, isFinished }) {
  const box = useRef();
  useLayoutEffect(() => box.current.replaceChildren(renderMarkdown(text)), [text]);
  useEffect(() => {
    if (isFinished) highlight(box.current);
  }, [text, isFinished]);
  return html`<div class="markdown" ref=${box} />`;
}

function CopyButton({ text }) {
  const [isCopied, show] = useState(false);
  async function copy() {
    await navigator.clipboard.writeText(text);
    show(true);
    setTimeout(() => show(false), 2_000);
  }
  return html`<${IconButton} icon=${isCopied ? "done" : "copy"} label=${isCopied ? "Copied" : "Copy"} onClick=${copy} />`;
}
