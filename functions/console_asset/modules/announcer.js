// The text of the page's only status region: what a screen reader is told.

import { createStore } from "./store.js";

export const announcement = createStore("");

export function announce(text) {
  announcement.set(text);
}
