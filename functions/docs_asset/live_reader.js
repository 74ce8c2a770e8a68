// Shows a reply as it grows: an example to copy, for browsers and Node, without packages.
//
// A socket may lose, repeat or reorder frames. Missing text is fetched, so the text is complete in any
// case, even without a socket.

// Calls `show` with the reply's text whenever it grows; resolves to the prompt that has ended.
// `call(method, path)` sends a request with an access token, and resolves to the answer's `data`.
export async function watch(call, room, message, show) {
  let [attempt, text] = [0, ""];
  let socket, wake, timer, renewal;

  const wakeAfter = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(() => wake(), milliseconds);
  };

  // Adds a piece of text, and returns whether text before it is missing.
  function take(piece) {
    if (piece.attempt > attempt) [attempt, text] = [piece.attempt, ""]; // another attempt
    if (piece.attempt < attempt || piece.text === undefined) return false;
    if (piece.from > text.length) return true;
    const longer = text.slice(0, piece.from) + piece.text;
    if (longer.length > text.length) show((text = longer));
    return false;
  }

  async function open() {
    const { url, pingAfter } = await call("POST", "/live");
    clearInterval(renewal);
    renewal = setInterval(() => socket?.send('{"action":"renew"}'), pingAfter * 1000);
    socket = new WebSocket(url);
    socket.onopen = () => wake();
    socket.onclose = socket.onerror = () => {
      socket = null;
      wakeAfter(1000);
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.messageId !== message) return;
      wakeAfter(["look", "ended"].includes(frame.type) || take(frame) ? 0 : 5000);
    };
  }

  for (;;) {
    const isWoken = new Promise((resolve) => (wake = resolve));
    const prompt = await call("GET", `/chatroom/${room}/message/${message}?from=${text.length}`);
    wakeAfter(take(prompt.partial ?? { attempt: 0 }) ? 0 : 5000);
    if (prompt.status !== "queued" && prompt.status !== "generating") {
      clearTimeout(timer);
      clearInterval(renewal);
      if (socket) socket.onclose = socket.onerror = socket.close();
      return prompt;
    }
    if (!socket) await open().catch(() => wakeAfter(1000));
    await isWoken;
  }
}
