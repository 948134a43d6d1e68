// The page: who asks, which room is open, and in what language.

import { openAnswers, showAnswers } from "./answers.js";
import { $, read, whenUnauthenticated } from "./api.js";
import { openChat } from "./chat.js";
import { openCompare } from "./compare.js";
import { openDocuments, watchDocuments } from "./documents.js";
import { showFor } from "./turn.js";
import { say, switchLanguage, translate } from "./words.js";

const ROOMS = ["chat", "documents", "compared-room", "answers"];
const roomNow = () => ROOMS.find(name => location.hash === `#${name}` && !document.querySelector(`[data-room=${name}]`).hidden) || "chat";

// What nobody else tells, such as a room that can't be filled.
addEventListener("unhandledrejection", event => {
  event.preventDefault();
  $("fault").textContent = event.reason.message;
});

function enter() {
  $("fault").textContent = "";
  const room = roomNow();
  for (const name of ROOMS) {
    $(name).hidden = name !== room;
    document.querySelector(`[data-room=${name}]`).toggleAttribute("aria-current", name === room);
  }
  if (room === "documents") watchDocuments(() => roomNow() === "documents");
  if (room === "answers") showAnswers();
}

function askForKey(fault = "") {
  $("sign-in").hidden = false;
  $("rooms").hidden = true;
  $("sign-in-fault").textContent = fault;
  $("key").focus();
}

let isOpen = false;
async function begin() {
  const hadKey = sessionStorage.getItem("key") !== null;
  let me;
  try { me = await read("me"); }
  catch (error) {
    if (error.status === 401) askForKey(hadKey ? say("keyRefused") : "");
    else askForKey(error.message);
    return;
  }
  $("sign-in").hidden = true;
  $("rooms").hidden = false;
  $("sign-out").hidden = !hadKey;
  document.querySelector("[data-room=answers]").hidden = !(me.ledger && me.role === "admin");
  document.querySelector("[data-room=compared-room]").hidden = me.role !== "admin";
  if (!isOpen) { showFor(me); openChat(me); openDocuments(me); openCompare(me); openAnswers(); isOpen = true; }
  enter();
}

$("sign-in").addEventListener("submit", event => {
  event.preventDefault();
  // The key stays in this tab: it is gone when the tab is.
  sessionStorage.setItem("key", $("key").value.trim());
  // It may be somebody else: nothing of who was here before stays.
  if (isOpen) { sessionStorage.removeItem("going-on"); location.reload(); return; }
  $("key").value = "";
  begin();
});
$("sign-out").addEventListener("click", () => { sessionStorage.clear(); location.reload(); });
$("language").addEventListener("click", switchLanguage);
addEventListener("hashchange", enter);
whenUnauthenticated(() => { if (isOpen) askForKey(say("keyRefused")); });
translate();
begin();
