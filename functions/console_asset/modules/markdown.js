// Replies are Markdown. Their HTML is shown as text, their images as links, and the result is
// sanitised: nothing in a reply runs, loads or looks like a part of the page.

import { Marked } from "marked";
import "dompurify";

const TAGS = "a blockquote br code del em h3 h4 h5 h6 hr input li ol p pre span strong table tbody td th thead tr ul";
const OPTIONS = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ["align", "checked", "class", "disabled", "href", "start", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => escape(text),
    image: ({ href, text }) => `<a href="${escape(href)}">Image: ${escape(text || href)}</a>`,
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener nofollow noreferrer");
  }
  if (node.tagName === "INPUT") node.setAttribute("aria-label", node.checked ? "Done" : "Not done");
});

function escape(text) {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]);
}

// Returns a reply as nodes to show.
export function renderMarkdown(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text), OPTIONS);
  for (const table of fragment.querySelectorAll("table")) wrap(table, "table-box");
  for (const block of fragment.querySelectorAll("pre")) addBar(block);
  return fragment;
}

function wrap(node, className) {
  const box = document.createElement("div");
  box.className = className;
  node.replaceWith(box);
  box.append(node);
  return box;
}

function addBar(block) {
  const language = languageOf(block);
  block.tabIndex = 0;
  const bar = document.createElement("div");
  bar.className = "code-bar";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "Copy code";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy code"), 2_000);
  });
  bar.append(language || "text", button);
  wrap(block, "code").prepend(bar);
}

function languageOf(block) {
  return block.querySelector("code")?.className.match(/language-([\w+#-]+)/)?.[1] ?? "";
}

// Colours the code of a finished reply; the highlighter is loaded with the first code.
export async function highlight(root) {
  const blocks = [...root.querySelectorAll("pre > code")].filter((code) => languageOf(code.parentNode));
  if (!blocks.length) return;
  const { default: highlighter } = await import("highlight.js");
  for (const code of blocks) {
    const language = languageOf(code.parentNode);
    if (!highlighter.getLanguage(language)) continue;
    const { value } = highlighter.highlight(code.textContent, { language, ignoreIllegals: true });
    code.replaceChildren(DOMPurify.sanitize(value, OPTIONS));
  }
}
