// The signed-in user: identities, plan, today's usage, and the subscription.

import { createStore } from "./store.js";
import { call } from "./session.js";

export const account = createStore(null);
export const models = createStore([]);
export const subscription = createStore(null);

export async function loadAccount() {
  account.set(await call("GET", "/user/me"));
}

export async function loadModels() {
  models.set((await call("GET", "/models")).models);
}

export async function loadSubscription() {
  subscription.set(await call("GET", "/subscription/status"));
}

// Goes to a page at Stripe.
export async function visit(path) {
  const { url } = await call("POST", path);
  location.assign(url);
}

export async function changeSubscription(path) {
  subscription.set(await call("POST", path));
}
