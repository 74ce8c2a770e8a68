// The reader's rule: build the right text from frames that may be lost, repeated or out of order.
//
// `shown` is { attempt, text }, and offsets count UTF-16 code units, as JavaScript does. Returns the
// next `shown` after a frame or a fetched text, or { fetch } with the offset from which to fetch text.

export const NOTHING = { attempt: 0, text: "" };

export function read(shown, frame) {
  if (frame.type === "look" || frame.type === "ended") return { fetch: shown.text.length };
  const isNewer = frame.attempt > shown.attempt;
  if (frame.type === "again") return isNewer ? { attempt: frame.attempt, text: "" } : shown;
  if (frame.attempt < shown.attempt) return shown;
  const have = isNewer ? "" : shown.text;
  if (frame.from > have.length) return { fetch: have.length };
  const text = have.slice(0, frame.from) + frame.text;
  return isNewer || text.length > have.length ? { attempt: frame.attempt, text } : shown;
}
