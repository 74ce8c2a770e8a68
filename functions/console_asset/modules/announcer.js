// The text of the page's only status region, which screen readers read aloud.

import { createStore } from "./store.js";

export const announcement = createStore("");

export function announce(text) {
  announcement.set(text);
}
