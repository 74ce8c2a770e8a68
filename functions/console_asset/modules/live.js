// The socket that receives replies while they grow. Without a socket, conversations poll.
//
// The socket is opened when a reply is expected, and closed when no reply was expected for a while.

import { call, session } from "./session.js";

const IDLE = 10 * 60_000; // milliseconds
const LONGEST_PAUSE = 60_000;

const listeners = new Set();
let socket = null;
let isOpening = false;
let neededUntil = 0;
let failures = 0;
let notBefore = 0;

export const live = {
  isOpen: () => socket?.readyState === WebSocket.OPEN,

  // Opens the socket, unless it is open or failed a moment ago.
  connect() {
    neededUntil = Date.now() + IDLE;
    if (!socket && !isOpening && Date.now() >= notBefore) openSocket();
  },

  // Calls the listener with each frame, and with { type: "open" }; returns a function that stops this.
  listen(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

async function openSocket() {
  isOpening = true;
  try {
    const { url, pingAfter } = await call("POST", "/live");
    carry(new WebSocket(url), pingAfter * 1000);
  } catch {
    pause();
  }
  isOpening = false;
}

function carry(opened, renewAfter) {
  socket = opened;
  const timer = setInterval(renew, renewAfter);
  socket.onopen = () => {
    failures = 0;
    tell({ type: "open" });
  };
  socket.onmessage = ({ data }) => tell(JSON.parse(data));
  socket.onclose = () => {
    clearInterval(timer);
    socket = null;
    pause();
  };
}

function renew() {
  if (Date.now() > neededUntil) socket.close();
  else if (live.isOpen()) socket.send(JSON.stringify({ action: "renew" }));
}

function pause() {
  notBefore = Date.now() + Math.min(LONGEST_PAUSE, 1_000 * 2 ** failures);
  failures += 1;
}

function tell(frame) {
  for (const listener of [...listeners]) listener(frame);
}

session.watch(({ status }) => {
  if (status !== "in") socket?.close();
});
