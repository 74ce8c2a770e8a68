// The reader's rule: make the right text of frames that may be lost, doubled or out of order.
//
// `mine` is { attempt, text } or null, a frame is { attempt, from, text } with offsets in UTF-16 code
// units, as JavaScript counts. Returns what to show from now on, or FETCH if something is missing.

export const FETCH = Symbol("fetch");

export function read(mine, { attempt, from, text }) {
  if (mine && attempt < mine.attempt) return mine;
  const have = mine?.attempt === attempt ? mine.text : "";
  if (from > have.length) return FETCH;
  const next = have.slice(0, from) + text;
  const isNewer = !mine || attempt > mine.attempt;
  return isNewer || next.length > have.length ? { attempt, text: next } : mine;
}
