// One open chat: its messages, and the replies that are being written.
//
// A reply arrives in two ways: as frames over the socket, which may be lost, and by polling, which
// works without a socket. A prompt is polled if nothing has arrived for it for a while.

import { Problem } from "./api.js";
import { announce } from "./announcer.js";
import { loadAccount } from "./account.js";
import { live } from "./live.js";
import { NOTHING, read } from "./reader.js";
import { forgetRoom, loadRooms } from "./rooms.js";
import { call } from "./session.js";
import { createStore } from "./store.js";

const PAGE = 50; // messages
const TICK = 500; // milliseconds
const POLL = 1_000; // without a socket
const SILENCE = 5_000; // with a socket, which may have lost frames
const UNTITLED = "New Chat"; // until the first reply gives the chat a title
const TITLED = 3_000;
const ANSWERING = "Gemini is answering";

export function isUnfinished(message) {
  return message.status === "queued" || message.status === "generating";
}

export function openConversation(roomId) {
  const path = `/chatroom/${roomId}`;
  const store = createStore({ status: "loading", room: null, messages: [], earlier: null, texts: {} });
  const heard = new Map(); // by prompt: the time of its last frame or poll
  const keys = new Map(); // by request: its idempotency key, until an answer arrives
  const awaited = new Set(); // prompts without an announced reply
  const stopListening = live.listen(receive);
  const timer = setInterval(poll, TICK);
  let isClosed = false;
  let changes = 0; // the number of our changes and of finished replies

  async function load() {
    try {
      const known = changes;
      const { messages, nextCursor, ...room } = await call("GET", `${path}?limit=${PAGE}`);
      if (known !== changes) return load(); // the page may be older than a change or a finished reply
      store.update({ status: "ready", room, ...joined(messages, nextCursor) });
      announceReplies();
    } catch (problem) {
      note(problem);
    }
  }

  // Keeps the earlier messages that are shown, if the newest page continues them.
  function joined(messages, nextCursor) {
    const shown = store.get();
    const at = shown.messages.findIndex((message) => message.id === messages[0]?.id);
    if (at <= 0) return { messages, earlier: nextCursor };
    return { messages: [...shown.messages.slice(0, at), ...messages], earlier: shown.earlier };
  }

  async function loadEarlier() {
    const cursor = encodeURIComponent(store.get().earlier);
    const page = await call("GET", `${path}?limit=${PAGE}&cursor=${cursor}`);
    store.update({ messages: [...page.messages, ...store.get().messages], earlier: page.nextCursor });
  }

  // Shows that the chat was deleted, or could not be loaded.
  function note(problem) {
    if (isClosed) return;
    if (problem instanceof Problem && problem.status === 404) {
      forgetRoom(roomId);
      store.update({ status: "gone" });
    } else if (store.get().status === "loading") {
      store.update({ status: "failed", problem });
    }
  }

  function find(id) {
    return store.get().messages.find((message) => message.id === id);
  }

  // Announces that Gemini is answering, and each reply once.
  function announceReplies() {
    if (isClosed) return;
    const { messages } = store.get();
    for (const prompt of messages.filter(({ id }) => awaited.has(id))) {
      if (!isUnfinished(prompt)) announceOutcome(prompt);
    }
    const started = messages.filter((message) => isUnfinished(message) && !awaited.has(message.id));
    if (!started.length) return;
    for (const { id } of started) awaited.add(id);
    live.connect();
    announce(ANSWERING);
  }

  function announceOutcome({ id, error }) {
    awaited.delete(id);
    changes += 1;
    const reply = store.get().messages.find((message) => message.replyTo === id);
    announce(reply?.content ?? error?.message ?? "The reply was stopped");
    loadAccount().catch(() => {});
    if (store.get().room?.title === UNTITLED) setTimeout(refreshRoom, TITLED);
  }

  // Shows a prompt as the API answered it, unless a newer answer is shown already.
  function show({ reply, partial, hidden, ...prompt }) {
    const before = find(prompt.id);
    if (!before || isClosed || (isUnfinished(prompt) && !isUnfinished(before))) return;
    if (hidden) return load();
    const messages = store.get().messages.map((message) => (message.id === prompt.id ? prompt : message));
    if (reply && !find(reply.id)) messages.splice(messages.indexOf(prompt) + 1, 0, reply);
    store.update({ messages });
    if (partial) receive({ type: "text", messageId: prompt.id, ...partial });
    announceReplies();
  }

  async function ask(id, from = 0) {
    heard.set(id, Date.now());
    try {
      show(await call("GET", `${path}/message/${id}?from=${from}`));
    } catch (problem) {
      note(problem);
    }
  }

  function receive(frame) {
    if (frame.type === "room") return frame.chatroomId === roomId ? refreshRoom() : loadRooms();
    if (frame.type === "open") return heard.clear();
    const prompt = find(frame.messageId);
    if (!prompt || !isUnfinished(prompt)) return;
    heard.set(prompt.id, Date.now());
    const { texts } = store.get();
    const next = read(texts[prompt.id] ?? NOTHING, frame);
    if ("fetch" in next) ask(prompt.id, next.fetch);
    else if (next !== texts[prompt.id]) store.update({ texts: { ...texts, [prompt.id]: next } });
  }

  function poll() {
    const waiting = store.get().messages.filter(isUnfinished);
    if (waiting.length) live.connect();
    const silence = live.isOpen() ? SILENCE : POLL;
    for (const { id } of waiting) {
      const text = store.get().texts[id]?.text ?? "";
      if (Date.now() - (heard.get(id) ?? 0) >= silence) ask(id, text.length);
    }
  }

  async function refreshRoom() {
    if (isClosed) return;
    loadRooms();
    const { messages, nextCursor, ...room } = await call("GET", `${path}?limit=1`).catch(() => ({}));
    if (room.id) store.update({ room });
  }

  // Sends a change. If its answer is lost, a repetition has the same idempotency key and counts once.
  async function change(method, suffix, body) {
    const name = JSON.stringify([method, suffix, body]);
    if (!keys.has(name)) keys.set(name, crypto.randomUUID());
    try {
      const answer = await call(method, path + suffix, { body, headers: { "idempotency-key": keys.get(name) } });
      keys.delete(name);
      changes += 1;
      return answer;
    } catch (problem) {
      if (problem instanceof Problem) keys.delete(name);
      note(problem);
      throw problem;
    }
  }

  async function send(content) {
    live.connect();
    const { message } = await change("POST", "/message", { content });
    if (!find(message.id)) store.update({ messages: [...store.get().messages, message] });
    else awaited.add(message.id); // a page with the prompt arrived first
    announceReplies();
    loadRooms();
  }

  async function retry(id) {
    const { message } = await change("POST", `/message/${id}/retry`);
    store.update({ messages: store.get().messages.map((each) => (each.id === id ? message : each)) });
    announceReplies();
  }

  // Changes the visible turns, and loads the messages again.
  async function replace(method, suffix, body) {
    await change(method, suffix, body);
    await load();
  }

  return {
    store,
    load,
    loadEarlier,
    send,
    retry,
    stop: (id) => change("POST", `/message/${id}/stop`).then(() => ask(id)),
    regenerate: (id) => replace("POST", `/message/${id}/regenerate`),
    edit: (id, content) => replace("PATCH", `/message/${id}`, { content }),
    undo: () => replace("POST", "/undo"),
    async fork(id) {
      const room = await change("POST", "/fork", { upTo: id });
      loadRooms();
      return room;
    },
    applySettings: (room) => store.update({ room: { ...store.get().room, ...room } }),
    close() {
      isClosed = true;
      stopListening();
      clearInterval(timer);
    },
  };
}
