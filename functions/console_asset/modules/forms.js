// Parts of forms: a labelled field, a problem, and a form that sends one request at a time.

import { html, useId, useRef, useState } from "./html.js";

export function Field({ label, hint, as = "input", options, ...rest }) {
  const id = useId();
  const about = hint ? { "aria-describedby": `${id}-hint` } : {};
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      <${as} id=${id} ...${about} ...${rest}>${options}<//>
      ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    </div>
  `;
}

export function Trouble({ problem }) {
  return problem && html`<p class="trouble" role="alert">${problem.message}</p>`;
}

// Returns [run, isBusy, problem]: `run` calls the action unless it is running; `problem` is its error.
export function useAction(action) {
  const [state, show] = useState({ isBusy: false, problem: null });
  const isRunning = useRef(false); // set at once; the state changes only with the next render
  async function run(...values) {
    if (isRunning.current) return;
    isRunning.current = true;
    show({ isBusy: true, problem: null });
    const problem = await Promise.resolve(action(...values)).then(() => null, (error) => error);
    isRunning.current = false;
    show({ isBusy: false, problem });
  }
  return [run, state.isBusy, state.problem];
}

// Calls `action` with the form's values by the names of its fields.
export function Form({ action, submit, children, ...rest }) {
  const [run, isBusy, problem] = useAction(action);
  function onSubmit(event) {
    event.preventDefault();
    run(Object.fromEntries(new FormData(event.target)));
  }
  return html`
    <form onSubmit=${onSubmit} ...${rest}>
      ${children}
      <${Trouble} problem=${problem} />
      <button class="primary" disabled=${isBusy}>${submit}</button>
    </form>
  `;
}
