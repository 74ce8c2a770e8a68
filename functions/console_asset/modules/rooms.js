// The list of chats, latest activity first.

import { createStore } from "./store.js";
import { call } from "./session.js";

export const NO_ROOMS = { items: null, next: null };
export const rooms = createStore(NO_ROOMS);

// Loads the first page; a failure leaves the list unchanged.
export async function loadRooms() {
  const page = await call("GET", "/chatroom?limit=50").catch(() => null);
  if (page) rooms.set({ items: page.chatrooms, next: page.nextCursor });
}

export async function loadMoreRooms() {
  const { items, next } = rooms.get();
  const page = await call("GET", `/chatroom?limit=50&cursor=${encodeURIComponent(next)}`);
  rooms.set({ items: [...items, ...page.chatrooms], next: page.nextCursor });
}

export async function createRoom(settings) {
  const room = await call("POST", "/chatroom", { body: settings });
  rooms.update({ items: [room, ...(rooms.get().items ?? [])] });
  return room;
}

export async function changeRoom(id, changes) {
  const room = await call("PATCH", `/chatroom/${id}`, { body: changes });
  rooms.update({ items: rooms.get().items.map((each) => (each.id === id ? { ...each, ...room } : each)) });
  return room;
}

export async function deleteRoom(id) {
  await call("DELETE", `/chatroom/${id}`);
  forgetRoom(id);
}

export function forgetRoom(id) {
  rooms.update({ items: (rooms.get().items ?? []).filter((each) => each.id !== id) });
}
