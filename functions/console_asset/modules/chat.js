// An open chat: its title, its messages, and the composer.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { announce } from "./announcer.js";
import { connection } from "./api.js";
import { Composer } from "./composer.js";
import { isUnfinished, openConversation } from "./conversation.js";
import { keepDraft } from "./drafts.js";
import { useAction } from "./forms.js";
import { IconButton } from "./icons.js";
import { Prompt, Reply } from "./messages.js";
import { RoomSettings } from "./room_settings.js";
import { createRoom } from "./rooms.js";
import { useStore } from "./store.js";

// An existing chat. The `key` is the chat's id, so that each chat is a component of its own.
export function Chat({ roomId, header }) {
  const kept = useRef();
  kept.current ??= openConversation(roomId);
  const conversation = kept.current;
  const state = useStore(conversation.store);
  const [areSettingsOpen, openSettings] = useState(false);
  const [undo, isUndoing] = useAction(conversation.undo);

  useEffect(() => {
    announce("");
    conversation.load();
    const refresh = () => document.visibilityState === "visible" && conversation.load();
    const stopWatching = connection.watch((isOnline) => isOnline && conversation.load());
    document.addEventListener("visibilitychange", refresh);
    return () => {
      document.removeEventListener("visibilitychange", refresh);
      stopWatching();
      conversation.close();
    };
  }, []);

  if (state.status === "gone") return html`<${Gone} header=${header} />`;
  const { room, messages } = state;
  const unfinished = messages.find(isUnfinished);
  const actions = {
    ...conversation,
    fork: async (id) => openRoom((await conversation.fork(id)).id),
  };
  return html`
    <main class="chat" id="main">
      ${header(room?.title ?? "", room && html`
        ${room.canUndo && html`<${IconButton} icon="undo" label="Undo the last edit" disabled=${isUndoing} onClick=${undo} />`}
        <${IconButton} icon="settings" label="Settings of this chat" onClick=${() => openSettings(true)} />
      `)}
      <${Transcript} state=${state} actions=${actions} />
      <${Composer} roomId=${roomId} send=${conversation.send}
        stop=${unfinished ? () => conversation.stop(unfinished.id).catch(() => {}) : null} />
      ${areSettingsOpen && html`<${RoomSettings} room=${room} saved=${conversation.applySettings}
        close=${() => openSettings(false)} />`}
    </main>
  `;
}

function openRoom(roomId) {
  location.hash = `#/chat/${roomId}`;
}

function Gone({ header }) {
  return html`
    <main class="chat" id="main">
      ${header("")}
      <div class="empty" role="alert">
        <h2>This chat was deleted</h2>
        <p>It was deleted here or on another device.</p>
        <a class="button primary" href="#/">New chat</a>
      </div>
    </main>
  `;
}

function Transcript({ state, actions }) {
  const box = useRef();
  const isAtEnd = useRef(true);
  const [earlier, isBusy] = useAction(actions.loadEarlier);
  const answered = new Set(state.messages.map((message) => message.replyTo));

  useLayoutEffect(() => {
    if (isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  });
  function scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 40;
  }
  return html`
    <div class="transcript" role="log" aria-live="off" aria-label="Conversation" tabindex="0" ref=${box} onScroll=${scrolled}>
      <div class="column">
        ${state.status === "loading" && html`<p class="note">Loading …</p>`}
        ${state.status === "failed" && html`<div class="failure" role="alert">
          <p>${state.problem.message}</p><button class="small" onClick=${actions.load}>Try again</button>
        </div>`}
        ${state.earlier && html`<button class="small earlier" disabled=${isBusy} onClick=${earlier}>Show earlier messages</button>`}
        ${state.messages.map((message) => message.sender === "user"
          ? html`<${Prompt} key=${message.id} message=${message} text=${state.texts[message.id]}
              isAnswered=${answered.has(message.id)} actions=${actions} />`
          : html`<${Reply} key=${message.id} message=${message} actions=${actions} />`)}
      </div>
    </div>
  `;
}

// A new chat; its room is created with the first prompt.
export function NewChat({ header }) {
  const [settings, change] = useState({});
  const [areSettingsOpen, openSettings] = useState(false);

  async function begin(text) {
    const room = await createRoom(settings);
    keepDraft(room.id, text, true);
    openRoom(room.id);
  }
  return html`
    <main class="chat" id="main">
      ${header("New chat", html`<${IconButton} icon="settings" label="Settings of this chat" onClick=${() => openSettings(true)} />`)}
      <div class="empty"><h2>What would you like to know?</h2></div>
      <${Composer} roomId="" send=${begin} />
      ${areSettingsOpen && html`<${RoomSettings} room=${settings} saved=${change} close=${() => openSettings(false)} />`}
    </main>
  `;
}
