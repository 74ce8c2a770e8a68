// The settings of a chat: title, model, thinking, instruction; and its deletion.

import { html, useState } from "./html.js";
import { models } from "./account.js";
import { Dialog } from "./dialog.js";
import { Field, Form, Trouble, useAction } from "./forms.js";
import { changeRoom, deleteRoom } from "./rooms.js";
import { useStore } from "./store.js";

const LEVELS = { minimal: "Minimal", low: "Low", medium: "Medium", high: "High" };

// A room without an id is not created yet.
export function RoomSettings({ room, saved, close }) {
  const [model, choose] = useState(room.model ?? "");
  const listed = useStore(models);
  const chosen = listed.find(({ id, aliases }) => id === model || aliases.includes(model)) ?? listed[0];

  async function save({ title, systemInstruction, thinking }) {
    const settings = {
      model: model || null,
      thinking: thinking || null,
      systemInstruction: systemInstruction.trim() || null,
      ...(room.id && { title: title.trim() || null }),
    };
    saved(room.id ? await changeRoom(room.id, settings) : settings);
    close();
  }
  return html`
    <${Dialog} title="Settings of this chat" close=${close}>
      <${Form} action=${save} submit="Save">
        ${room.id && html`<${Field} label="Title" name="title" value=${room.title} maxlength="120" />`}
        <${Field} label="Model" as="select" name="model" value=${model} onChange=${(event) => choose(event.target.value)}
          options=${modelOptions(listed, room.id)} />
        ${chosen?.thinking.length > 0 && html`<${Field} label="Thinking" as="select" name="thinking" value=${room.thinking ?? ""}
          hint="More thinking gives better answers to hard questions, but takes longer."
          options=${[["", "The model decides"], ...chosen.thinking.map((level) => [level, LEVELS[level] ?? level])].map(option)} />`}
        <${Field} label="Instruction" as="textarea" name="systemInstruction" rows="4" maxlength="4000" value=${room.systemInstruction ?? ""}
          hint="Gemini follows this text in every reply of this chat, for example: Answer briefly." />
      <//>
      ${room.id && html`<${Deletion} room=${room} />`}
    <//>
  `;
}

function option([value, label, disabled]) {
  return html`<option value=${value} disabled=${disabled}>${label}</option>`;
}

function modelOptions(listed, isCreated) {
  const byAlias = listed.flatMap(({ name, aliases, available }) =>
    aliases.map((alias) => [alias, `${alias[0].toUpperCase()}${alias.slice(1)} (${name})`, !available]),
  );
  const byId = listed.map(({ id, name, available }) => [id, available ? name : `${name} (Pro)`, !available]);
  return [...(isCreated ? [] : [["", "Default"]]), ...byAlias, ...byId].map(option);
}

function Deletion({ room }) {
  const [isSure, ask] = useState(false);
  const [remove, isBusy, problem] = useAction(async () => {
    await deleteRoom(room.id);
    location.hash = "#/";
  });
  return html`
    <div class="row apart">
      ${isSure
        ? html`<span>Delete this chat with all its messages?</span>
            <button class="danger" disabled=${isBusy} onClick=${remove}>Delete</button>
            <button onClick=${() => ask(false)}>Keep the chat</button>`
        : html`<button class="danger" onClick=${() => ask(true)}>Delete this chat</button>`}
    </div>
    <${Trouble} problem=${problem} />
  `;
}
