// Texts that were typed and not sent yet, per chat ("" for a new one), with the problem of sending.

const drafts = new Map();

export function draftOf(roomId) {
  return drafts.get(roomId) ?? { text: "", problem: null };
}

export function keepDraft(roomId, text, problem = null) {
  drafts.set(roomId, { text, problem });
}
