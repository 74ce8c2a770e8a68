// The messages of a chat, and the reply that is being written.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { isUnfinished } from "./conversation.js";
import { Trouble, useAction } from "./forms.js";
import { IconButton } from "./icons.js";
import { highlight, renderMarkdown } from "./markdown.js";

const NOTES = {
  stopped: "You stopped this reply.",
  length: "This reply reached its maximum length.",
};

export function Prompt({ message, text, isAnswered, actions }) {
  const [isEditing, edit] = useState(false);
  const close = () => edit(false);
  return html`
    <article class="prompt" aria-label="You">
      ${isEditing
        ? html`<${Editor} message=${message} actions=${actions} close=${close} />`
        : html`<p class="bubble">${message.content}</p>
            ${!isUnfinished(message) && html`<div class="actions">
              <${CopyButton} text=${message.content} />
              <${IconButton} icon="edit" label="Edit this prompt" onClick=${() => edit(true)} />
            </div>`}`}
    </article>
    ${isUnfinished(message) && html`<${Growing} text=${text} status=${message.status} />`}
    ${message.status === "failed" && html`<${Failure} message=${message} actions=${actions} />`}
    ${message.status === "stopped" && !isAnswered && html`<p class="note">You stopped this prompt.</p>`}
  `;
}

function Editor({ message, actions, close }) {
  const [text, type] = useState(message.content);
  const [save, isBusy, problem] = useAction(async () => {
    await actions.edit(message.id, text);
    close();
  });
  const field = useRef();
  useEffect(() => field.current.focus(), []);
  return html`
    <div class="editor">
      <textarea ref=${field} aria-label="Edit this prompt" rows="3" value=${text}
        onInput=${(event) => type(event.target.value)}
        onKeyDown=${(event) => event.key === "Escape" && close()} />
      <${Trouble} problem=${problem} />
      <div class="row">
        <button class="small primary" disabled=${isBusy || !text.trim()} onClick=${save}>Send again</button>
        <button class="small" onClick=${close}>Cancel</button>
        <span class="hint">This replaces the prompt and all later messages. You can undo the change.</span>
      </div>
    </div>
  `;
}

export function Reply({ message, actions }) {
  const [again, isAsking, problem] = useAction(() => actions.regenerate(message.replyTo));
  const [fork, isForking, forkProblem] = useAction(() => actions.fork(message.id));
  return html`
    <article class="reply" aria-label="Gemini">
      <${Markdown} text=${message.content} isFinished />
      ${message.finish in NOTES && html`<p class="note">${NOTES[message.finish]}</p>`}
      <div class="actions">
        <${CopyButton} text=${message.content} />
        <${IconButton} icon="redo" label="Ask again" disabled=${isAsking} onClick=${again} />
        <${IconButton} icon="fork" label="Continue from here in a new chat" disabled=${isForking} onClick=${fork} />
      </div>
      <${Trouble} problem=${problem ?? forkProblem} />
    </article>
  `;
}

function Growing({ text, status }) {
  return html`
    <article class="reply growing" aria-label="Gemini" aria-busy="true">
      ${text?.text
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
