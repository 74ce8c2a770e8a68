// The session: the access token is kept in memory, the refresh token in the tab's sessionStorage.
//
// A duplicated tab has the same refresh token. Tabs tell each other about a refresh and a sign-out,
// because a refresh token that is used a second time ends the session.

import { Problem, send } from "./api.js";
import { createStore } from "./store.js";

const REFRESH_TOKEN = "geminichat.refreshToken";
const DEVICE_TOKEN = "geminichat.deviceToken"; // does not sign in; it only exempts this device from limits for strangers
const MARGIN = 30_000; // milliseconds; an access token is replaced this long before it expires
const ENDED = "Your session has ended. Sign in again to continue.";
const SIGNED_OUT = "You signed out in another tab.";

export const session = createStore({ status: "restoring", notice: "" });

const tabs = new BroadcastChannel("geminichat.session");
let access = null;
let refreshing = null;
let isEndingElsewhere = false;

export function deviceToken() {
  return localStorage.getItem(DEVICE_TOKEN) ?? undefined;
}

export function begin(tokens) {
  access = { token: tokens.token, until: Date.now() + tokens.expiresIn * 1000 - MARGIN };
  sessionStorage.setItem(REFRESH_TOKEN, tokens.refreshToken);
  localStorage.setItem(DEVICE_TOKEN, tokens.deviceToken);
  isEndingElsewhere = false;
  if (session.get().status !== "in") session.set({ status: "in", notice: "" });
}

export async function restore() {
  if (!sessionStorage.getItem(REFRESH_TOKEN)) return end("");
  try {
    await refresh();
  } catch (problem) {
    if (session.get().status === "restoring") session.set({ status: "failed", notice: problem.message });
  }
}

// Sends a request of the signed-in user.
export async function call(method, path, options = {}) {
  await refreshExpired();
  try {
    return await send(method, path, { ...options, token: access.token });
  } catch (problem) {
    if (problem.code !== "unauthorized") throw problem;
  }
  await refresh();
  try {
    return await send(method, path, { ...options, token: access.token });
  } catch (problem) {
    if (problem.code === "unauthorized") expire(ENDED);
    throw problem;
  }
}

// Tells the other tabs before the request, too: they may notice the end of the session before it is
// answered here.
export async function signOut(everywhere = false) {
  await refreshExpired();
  const token = sessionStorage.getItem(REFRESH_TOKEN);
  tabs.postMessage({ ending: token });
  await call("POST", "/auth/logout", { body: { everywhere } });
  tabs.postMessage({ ended: token });
  leave("");
}

// Shows the first page, after the service has ended the session.
export function leave(notice) {
  location.hash = "#/";
  end(notice);
}

async function refreshExpired() {
  if (!access || Date.now() > access.until) await refresh();
}

function refresh() {
  refreshing ??= exchange().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function exchange() {
  const spent = sessionStorage.getItem(REFRESH_TOKEN);
  if (!spent) throw new Problem(401, { detail: ENDED }, new Headers());
  try {
    const tokens = await send("POST", "/auth/refresh", { body: { refreshToken: spent } });
    tabs.postMessage({ spent, tokens });
    begin(tokens);
  } catch (problem) {
    const notice = problem.code === "account-suspended" ? problem.message : ENDED;
    if (problem instanceof Problem && problem.status < 429) expire(notice);
    throw problem;
  }
}

// Ends the session after a refused request. A session that has ended already keeps its notice.
function expire(notice) {
  if (sessionStorage.getItem(REFRESH_TOKEN)) end(isEndingElsewhere ? SIGNED_OUT : notice);
}

function end(notice) {
  access = null;
  isEndingElsewhere = false;
  sessionStorage.removeItem(REFRESH_TOKEN);
  session.set({ status: "out", notice });
}

tabs.onmessage = ({ data }) => {
  const token = sessionStorage.getItem(REFRESH_TOKEN);
  if (token && token === data.spent) begin(data.tokens);
  if (token && token === data.ending) isEndingElsewhere = true;
  if (token && token === data.ended) end(SIGNED_OUT);
};
