// Requests to the API: JSON in, JSON out, and problems as errors.

import { time } from "./format.js";
import { createStore } from "./store.js";

const PATIENCE = 35_000; // milliseconds; the gateway answers within 30 s

export class Problem extends Error {
  constructor(status, answer, headers) {
    const code = (answer.type ?? "").split(":").at(-1);
    super(inWords(code, answer) ?? fieldProblem(answer) ?? answer.detail ?? BARE[status] ?? "The service did not answer as expected. Try again.");
    this.status = status;
    this.code = code;
    this.retryAfter = Number(headers.get("retry-after")) || 0;
  }
}

// Texts for people. The API's own texts name requests and exact times, because programs read them.
function inWords(code, { resetsAt }) {
  const texts = {
    "identity-not-proven": "Verify your email or mobile number first, on the page of your account.",
    "identity-taken": "Another account has this email or mobile number. If that account is yours, sign in with its password or a code.",
    "invalid-code": "The code is wrong or has expired.",
    "no-customer": "You have no subscription yet.",
    "no-subscription": "You have no subscription.",
    "already-subscribed": "You have a subscription already. Manage it in the billing portal.",
    "quota-exceeded": `Your prompts for today are used up. You get new ones at ${time(resetsAt)}; Pro has no daily limit.`,
    "token-limit": `Your tokens for today are used up. You get new ones at ${time(resetsAt)}.`,
    "too-many-attempts": `You have reached the limit of prompts and retries per day. Continue at ${time(resetsAt)}.`,
  };
  return texts[code];
}

function fieldProblem({ errors }) {
  return errors?.length ? `${errors[0].detail}.` : undefined;
}

// Answers of the gateway itself, which has no problem details.
const BARE = {
  413: "This is too large to send.",
  429: "The service is busy. Try again in a moment.",
  503: "The service is busy. Try again in a moment.",
};

export class Offline extends Error {
  constructor() {
    super("The service cannot be reached. Check your connection.");
  }
}

// Returns the answer's data.
export async function send(method, path, { body, token, headers = {} } = {}) {
  const sent = { ...headers };
  if (body) sent["content-type"] = "application/json";
  if (token) sent.authorization = `Bearer ${token}`;
  const response = await request(path, { method, headers: sent, body: body && JSON.stringify(body) });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer, response.headers);
  return answer.data;
}

// Whether the last request reached the service.
export const connection = createStore(navigator.onLine);

async function request(path, options) {
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
    connection.set(true);
    return response;
  } catch {
    connection.set(false);
    throw new Offline();
  }
}

addEventListener("offline", () => connection.set(false));
addEventListener("online", () => connection.set(true));
