// An open chat: its title, its messages, and the composer.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { announce } from "./announcer.js";
import { Composer } from "./composer.js";
import { isUnfinished, openConversation } from "./conversation.js";
import { keepDraft } from "./drafts.js";
import { live } from "./live.js";
import { Prompt, Reply } from "./messages.js";
import { createRoom, loadRooms } from "./rooms.js";
import { useStore } from "./store.js";
import { useAction } from "./forms.js";
import { call } from "./session.js";

// A chat that exists; `key` is its id, so that another chat is another component.
export function Chat({ roomId, header }) {
  const conversation = useRef();
  conversation.current ??= openConversation(roomId, live);
  const { load, loadEarlier, close, send, retry, store } = conversation.current;
  const state = useStore(store);

  useEffect(() => {
    announce("");
    load();
    const refresh = () => document.visibilityState === "visible" && load();
    document.addEventListener("visibilitychange", refresh);
    return () => {
      document.removeEventListener("visibilitychange", refresh);
      close();
    };
  }, []);

  if (state.status === "gone") return html`<${Gone} header=${header} />`;
  return html`
    <main class="chat" id="main">
      ${header(state.room?.title ?? "")}
      <${Transcript} state=${state} loadEarlier=${loadEarlier} actions=${{ retry }} reload=${load} />
      <${Composer} roomId=${roomId} send=${async (text, key) => {
        await send(text, key);
        loadRooms();
      }} />
    </main>
  `;
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

function Transcript({ state, loadEarlier, actions, reload }) {
  const box = useRef();
  const isAtEnd = useRef(true);
  const [earlier, isBusy] = useAction(loadEarlier);

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
          <p>${state.problem.message}</p><button class="small" onClick=${reload}>Try again</button>
        </div>`}
        ${state.earlier && html`<button class="small earlier" disabled=${isBusy} onClick=${earlier}>Show earlier messages</button>`}
        ${state.messages.map((message) => message.sender === "user"
          ? html`<${Prompt} key=${message.id} message=${message} text=${state.texts[message.id]} actions=${actions} />`
          : html`<${Reply} key=${message.id} message=${message} />`)}
      </div>
    </div>
  `;
}

// A chat that begins with its first prompt.
export function NewChat({ header }) {
  async function begin(text, key) {
    const room = await createRoom({});
    let problem = null;
    try {
      await call("POST", `/chatroom/${room.id}/message`, { body: { content: text }, headers: { "idempotency-key": key } });
    } catch (error) {
      problem = error;
    }
    keepDraft("", "");
    keepDraft(room.id, problem ? text : "", problem);
    location.hash = `#/chat/${room.id}`;
  }
  return html`
    <main class="chat" id="main">
      ${header("New chat")}
      <div class="empty"><h2>What would you like to know?</h2></div>
      <${Composer} roomId="" send=${begin} />
    </main>
  `;
}
