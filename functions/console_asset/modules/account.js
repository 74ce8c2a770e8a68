// The signed-in user: identities, plan, and today's usage.

import { createStore } from "./store.js";
import { call } from "./session.js";

export const account = createStore(null);
export const models = createStore([]);

export async function loadAccount() {
  account.set(await call("GET", "/user/me"));
}

export async function loadModels() {
  models.set((await call("GET", "/models")).models);
}
