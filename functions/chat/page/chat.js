// The room in which one asks: a transcript, the conversations beside it, and answers that outlive a lost connection.

import { $, call, element, events, Fault, read, send, signButton } from "./api.js";
import { rendered, Turn } from "./turn.js";
import { say } from "./words.js";

const GOING_ON = "going-on";
const RETRIES = 3;
let conversation = null, current = null;

export function openChat(me) {
  $("mode").hidden = !me.models.includes("headrace-agent");
  $("ask").addEventListener("submit", event => { event.preventDefault(); ask($("question").value.trim()); });
  $("question").addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("ask").requestSubmit(); }
  });
  $("question").addEventListener("input", grow);
  $("stop").addEventListener("click", stop);
  document.addEventListener("keydown", event => { if (event.key === "Escape") current ? stop() : closeSources(); });
  $("close-sources").addEventListener("click", closeSources);
  $("new").addEventListener("click", () => { if (!current) show(null); });
  listConversations();
  goOn();
  $("question").focus();
}

function grow() {
  $("question").style.height = "auto";
  $("question").style.height = `${$("question").scrollHeight}px`;
}

function closeSources() {
  $("sources").hidden = true;
  $("chat").classList.remove("with-sources");
}

async function ask(question) {
  if (!question || current) return;
  $("question").value = "";
  grow();
  const body = { question, ...(conversation && { conversation_id: conversation }), ...($("mode").value === "agent" && { mode: "agent" }) };
  await make(new Turn(question), () => send("chat", body, { headers: { accept: "text/event-stream" } }));
}

// An answer that was being made when the page was left, or loaded anew.
async function goOn() {
  const left = JSON.parse(sessionStorage.getItem(GOING_ON) || "null");
  if (!left) return;
  await show(left.conversation);
  await make(new Turn(left.question), () => call(`runs/${left.run}`, { headers: { accept: "text/event-stream" } }));
}

async function make(turn, open) {
  current = turn;
  $("turns").append(turn.item);
  turn.item.scrollIntoView({ block: "end" });
  $("spoken").textContent = say("searching");
  isBusy(true);
  try { await follow(turn, open); }
  catch (error) { turn.fail(error.message); }
  finally {
    current = null;
    isBusy(false);
    sessionStorage.removeItem(GOING_ON);
  }
  if (turn.done) { conversation = turn.done.conversation_id || conversation; listConversations(); }
}

// To the answer's end, over connections that are lost.
async function follow(turn, open) {
  let last;
  for (let lost = 0; ; lost += 1) {
    try {
      const response = await (last ? call(`runs/${turn.run}`, { headers: { accept: "text/event-stream", "last-event-id": last } }) : open());
      turn.name(response);
      sessionStorage.setItem(GOING_ON, JSON.stringify({ run: turn.run, question: turn.question, conversation }));
      for await (const event of events(response)) {
        last = event.id || last;
        turn.take(event);
      }
      if (turn.done || turn.failed) return;
    } catch (error) {
      if (!turn.run || (error instanceof Fault && error.status)) throw error;
    }
    if (lost >= RETRIES) throw new Error(say("brokeOff"));
    turn.note.textContent = say("goesOn");
    await new Promise(then => setTimeout(then, 500 * 2 ** lost));
  }
}

function isBusy(busy) {
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  (busy ? $("stop") : $("question")).focus();
}

async function stop() {
  if (current && current.run) await call(`runs/${current.run}/stop`, { method: "POST" }).catch(() => {});
}

async function show(id) {
  conversation = id;
  closeSources();
  $("turns").replaceChildren();
  if (id) {
    const { turns } = await read(`conversations/${encodeURIComponent(id)}`).catch(() => ({ turns: [] }));
    // Another was chosen meanwhile.
    if (conversation !== id) return;
    for (const turn of turns) {
      const item = element("li");
      if (turn.role === "user") item.append(element("div", turn.content, "asked"));
      else { const told = element("div", undefined, "told"); told.append(rendered(turn.content)); item.append(told); }
      $("turns").append(item);
    }
    $("turns").scrollTop = $("turns").scrollHeight;
  }
  listConversations();
  $("question").focus();
}

async function listConversations() {
  const { conversations } = await read("conversations").catch(() => ({ conversations: [] }));
  $("conversations").replaceChildren(...conversations.map(each => {
    const item = element("li"), title = element("button", each.title || each.id, "title");
    if (each.id === conversation) item.setAttribute("aria-current", "true");
    title.addEventListener("click", () => { if (!current) show(each.id); });
    item.append(title, small("✎", "rename", each, rename), small("✕", "remove", each, remove));
    return item;
  }));
}

function small(sign, word, conversation_, act) {
  return signButton(sign, `${say(word)}: ${conversation_.title}`, () => act(conversation_), "small");
}

async function rename({ id, title }) {
  const given = prompt(say("newTitle"), title);
  if (given && given.trim()) await call(`conversations/${encodeURIComponent(id)}`, { method: "PATCH", body: JSON.stringify({ title: given.trim().slice(0, 120) }) });
  listConversations();
}

async function remove({ id }) {
  if (current || !confirm(say("removeSure"))) return;
  await call(`conversations/${encodeURIComponent(id)}`, { method: "DELETE" });
  if (id === conversation) show(null); else listConversations();
}
