// Texts that were typed and not sent yet, per chat ("" for a new one).

const drafts = new Map();

export function draftOf(roomId) {
  return drafts.get(roomId) ?? { text: "", isReady: false };
}

// A draft that is ready is sent as soon as its chat is open.
export function keepDraft(roomId, text, isReady = false) {
  drafts.set(roomId, { text, isReady });
}
