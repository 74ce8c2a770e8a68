// The console: the form to sign in, or the page that the address names.

import { html, render, useEffect, useState } from "./html.js";
import { announcement } from "./announcer.js";
import { connection } from "./api.js";
import { account, loadAccount, loadModels, subscription } from "./account.js";
import { AccountPage } from "./account_page.js";
import { Chat, NewChat } from "./chat.js";
import { IconButton } from "./icons.js";
import { loadRooms, NO_ROOMS, rooms } from "./rooms.js";
import { restore, session } from "./session.js";
import { Sidebar } from "./sidebar.js";
import { SignIn } from "./sign_in.js";
import { useStore } from "./store.js";

function App() {
  const { status, notice } = useStore(session);
  return html`
    <${Connection} />
    ${status === "in" && html`<${Console} />`}
    ${status === "out" && html`<${SignIn} notice=${notice} />`}
    ${status === "restoring" && html`<main class="splash"><h1>Gemini Chat</h1><p>Loading …</p></main>`}
    ${status === "failed" && html`<main class="splash"><h1>Gemini Chat</h1>
      <p role="alert">${notice}</p><button class="primary" onClick=${restore}>Try again</button></main>`}
    <p class="unseen" role="status" aria-live="polite">${useStore(announcement)}</p>
  `;
}

function Connection() {
  const isOnline = useStore(connection);
  return !isOnline && html`<p class="offline" role="alert">You are offline. This page continues when you are online again.</p>`;
}

function Console() {
  const page = usePage();
  const [isListOpen, openList] = useState(false);
  useEffect(() => {
    for (const load of [loadAccount, loadRooms, loadModels]) load().catch(() => {});
    return forget;
  }, []);
  useEffect(() => openList(false), [page]);

  const header = (title, actions) => html`
    <${Header} title=${title} isListOpen=${isListOpen} openList=${() => openList(true)}>${actions}<//>
  `;
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the conversation</a>
    <div class="console" data-list=${isListOpen ? "open" : undefined}>
      <${Sidebar} current=${page} isOpen=${isListOpen} close=${() => openList(false)} />
      ${page.startsWith("account") && html`<${AccountPage} header=${header} hasPaid=${page === "account/paid"} />`}
      ${page === "" && html`<${NewChat} header=${header} />`}
      ${page.startsWith("r_") && html`<${Chat} key=${page} roomId=${page} header=${header} />`}
    </div>
  `;
}

function Header({ title, isListOpen, openList, children }) {
  useEffect(() => {
    document.title = title ? `${title} · Gemini Chat` : "Gemini Chat";
  }, [title]);
  return html`
    <header class="bar">
      <${IconButton} icon="menu" label="Show the list of chats" class="icon-button narrow-only"
        aria-expanded=${isListOpen} onClick=${openList} />
      <h1 tabindex="-1">${title}</h1>
      ${children}
    </header>
  `;
}

function skip(event) {
  event.preventDefault();
  document.querySelector("#main textarea, #main h1")?.focus();
}

// Clears the user's data: the next user of this browser must not see it.
function forget() {
  account.set(null);
  rooms.set(NO_ROOMS);
  subscription.set(null);
}

// Returns "" for a new chat, "account", "account/paid" after a payment, or the id of a chat.
function usePage() {
  const [page, show] = useState(pageOf(location.hash));
  useEffect(() => {
    const follow = () => show(pageOf(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return page;
}

function pageOf(hash) {
  return hash.match(/^#\/(?:chat\/(?=r_))?(account|account\/paid|r_\w+)$/)?.[1] ?? "";
}

render(html`<${App} />`, document.getElementById("console"));
restore();
