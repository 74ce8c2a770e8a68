// Texts that were typed but not sent yet, by the chat's id ("" for a new chat).

const drafts = new Map();

export function draftOf(roomId) {
  return drafts.get(roomId) ?? { text: "", isReady: false };
}

// A draft with `isReady` is sent as soon as its chat is open.
export function keepDraft(roomId, text, isReady = false) {
  drafts.set(roomId, { text, isReady });
}
