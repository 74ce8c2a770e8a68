// The list of chats, today's usage, and the link to the account.

import { html, useEffect, useRef } from "./html.js";
import { account } from "./account.js";
import { usageInWords } from "./format.js";
import { useAction } from "./forms.js";
import { Icon, IconButton } from "./icons.js";
import { loadMoreRooms, rooms } from "./rooms.js";
import { useStore } from "./store.js";

// On a narrow screen, the open sidebar covers the page.
export function Sidebar({ current, isOpen, close }) {
  const closing = useRef();
  const { items, next } = useStore(rooms);
  const user = useStore(account);
  const [more, isBusy] = useAction(loadMoreRooms);
  useEffect(() => {
    if (!isOpen) return undefined;
    closing.current.focus();
    return () => document.querySelector("header [aria-expanded]")?.focus();
  }, [isOpen]);
  return html`
    <aside class="sidebar" aria-label="Chats" onKeyDown=${(event) => event.key === "Escape" && close()}>
      <div class="sidebar-top">
        <span class="brand"><img src="console/icon.svg" alt="" width="26" height="26" /> Gemini Chat</span>
        <${IconButton} icon="close" label="Close the list of chats" class="icon-button narrow-only" ref=${closing} onClick=${close} />
      </div>
      <a class="button" href="#/" aria-current=${current === "" ? "page" : undefined}><${Icon} name="plus" /> New chat</a>
      <nav aria-label="Chats">
        ${items?.length === 0 && html`<p class="hint">Your chats appear here.</p>`}
        <ul>
          ${(items ?? []).map((room) => html`<li key=${room.id}>
            <a href="#/chat/${room.id}" aria-current=${room.id === current ? "page" : undefined}>${room.title}</a>
          </li>`)}
        </ul>
        ${next && html`<button class="small" disabled=${isBusy} onClick=${more}>Show more chats</button>`}
      </nav>
      ${user && html`<${Footer} user=${user} current=${current} />`}
    </aside>
  `;
}

function Footer({ user, current }) {
  const { limit, used } = user.usage;
  return html`
    <div class="sidebar-foot">
      ${limit !== null && html`<meter min="0" max=${limit} value=${used} aria-label="Prompts used today" />`}
      <p class="hint">${usageInWords(user.usage)}</p>
      ${user.plan === "basic" && html`<a class="upgrade" href="#/account">Upgrade to Pro</a>`}
      <a class="who" href="#/account" aria-current=${current.startsWith("account") ? "page" : undefined}>
        <${Icon} name="account" /> <span>${user.email ?? user.mobile}</span>
      </a>
    </div>
  `;
}
