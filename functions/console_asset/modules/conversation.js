// One open chat: its messages, and the replies that are being written.
//
// A reply arrives in two ways: as frames over the socket, which may be lost, and by polling, which is
// right without a socket, too. Polling asks about a prompt that was not heard of for a while.

import { Problem } from "./api.js";
import { announce } from "./announcer.js";
import { createStore } from "./store.js";
import { FETCH, read } from "./reader.js";
import { call } from "./session.js";
import { forgetRoom } from "./rooms.js";
import { loadAccount } from "./account.js";

const TICK = 500; // milliseconds
const POLL = 1_000; // without a socket
const SILENCE = 5_000; // with a socket, which may have lost frames
const ANSWERING = "Gemini is answering";

export function isUnfinished(message) {
  return message.status === "queued" || message.status === "generating";
}

export function openConversation(roomId, live) {
  const path = `/chatroom/${roomId}`;
  const store = createStore({ status: "loading", room: null, messages: [], earlier: null, texts: {}, replaced: false });
  const heard = new Map(); // when something was heard of a prompt
  const stopListening = live.listen(receive);
  const timer = setInterval(poll, TICK);
  let isClosed = false;

  async function load() {
    try {
      const { messages, nextCursor, ...room } = await call("GET", `${path}?limit=50`);
      store.update({ status: "ready", room, messages, earlier: nextCursor });
      expectReplies();
    } catch (problem) {
      fail(problem);
    }
  }

  async function loadEarlier() {
    const { earlier } = store.get();
    const page = await call("GET", `${path}?limit=50&cursor=${encodeURIComponent(earlier)}`);
    store.update({ messages: [...page.messages, ...store.get().messages], earlier: page.nextCursor });
  }

  function fail(problem) {
    if (isClosed) return;
    if (problem instanceof Problem && problem.status === 404) {
      forgetRoom(roomId);
      store.update({ status: "gone" });
    } else if (store.get().status === "loading") {
      store.update({ status: "failed", problem });
    }
  }

  function expectReplies() {
    if (!store.get().messages.some(isUnfinished)) return;
    live.connect();
    announce(ANSWERING);
  }

  function find(id) {
    return store.get().messages.find((message) => message.id === id);
  }

  // Shows a prompt as the API has it now, and announces its reply once.
  function show({ reply, partial, ...prompt }) {
    const { messages, texts } = store.get();
    const before = find(prompt.id);
    if (!before || isClosed) return;
    const shown = messages.map((message) => (message.id === prompt.id ? prompt : message));
    if (reply && !find(reply.id)) shown.splice(shown.indexOf(prompt) + 1, 0, reply);
    const { [prompt.id]: text, ...others } = texts;
    const isAnswering = isUnfinished(prompt) && text;
    store.update({ messages: shown, texts: isAnswering ? texts : others });
    if (partial) receive({ type: "text", messageId: prompt.id, ...partial });
    if (!isUnfinished(prompt) && isUnfinished(before)) {
      announce(reply?.content ?? prompt.error?.message ?? "Stopped");
      loadAccount().catch(() => {});
    }
  }

  async function ask(id, from = store.get().texts[id]?.text.length ?? 0) {
    heard.set(id, Date.now());
    try {
      show(await call("GET", `${path}/message/${id}?from=${from}`));
    } catch (problem) {
      fail(problem);
    }
  }

  function receive(frame) {
    if (frame.type === "room" && frame.chatroomId === roomId) return refreshRoom();
    const prompt = find(frame.messageId);
    if (!prompt || !isUnfinished(prompt)) return;
    heard.set(prompt.id, Date.now());
    if (frame.type === "look" || frame.type === "ended") return ask(prompt.id);
    const { texts } = store.get();
    const next = read(texts[prompt.id] ?? null, frame.type === "again" ? { ...frame, from: 0, text: "" } : frame);
    if (next === FETCH) ask(prompt.id, 0);
    else if (next !== texts[prompt.id]) store.update({ texts: { ...texts, [prompt.id]: next } });
  }

  function poll() {
    const silence = live.isOpen() ? SILENCE : POLL;
    for (const { id } of store.get().messages.filter(isUnfinished)) {
      if (Date.now() - (heard.get(id) ?? 0) >= silence) ask(id);
    }
  }

  async function refreshRoom() {
    const { messages, nextCursor, ...room } = await call("GET", `${path}?limit=1`);
    store.update({ room });
  }

  function accept({ message }) {
    store.update({ messages: [...store.get().messages, message], replaced: false });
    expectReplies();
  }

  // Sends a request, and shows a chat that was deleted meanwhile as such.
  async function change(method, suffix, options) {
    try {
      return await call(method, path + suffix, options);
    } catch (problem) {
      fail(problem);
      throw problem;
    }
  }

  return {
    store,
    load,
    loadEarlier,
    async send(content, key) {
      live.connect();
      accept(await change("POST", "/message", { body: { content }, headers: { "idempotency-key": key } }));
    },
    async retry(id) {
      live.connect();
      const { message } = await change("POST", `/message/${id}/retry`);
      const messages = store.get().messages.map((each) => (each.id === id ? message : each));
      store.update({ messages });
      expectReplies();
    },
    close() {
      isClosed = true;
      stopListening();
      clearInterval(timer);
    },
  };
}
