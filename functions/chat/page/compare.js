// The room in which an admin compares: one question, several settings side by side, and questions kept for an evaluation.

import { $, call, element, events, read, seconds, send } from "./api.js";
import { Turn } from "./turn.js";
import { say } from "./words.js";

const COLUMNS = 2, MOST_COLUMNS = 3;
let me, kept = [], turns = [];

export function openCompare(given) {
  me = given;
  for (let number = 0; number < COLUMNS; number += 1) addColumn();
  $("add-column").addEventListener("click", addColumn);
  $("compare-form").addEventListener("submit", event => { event.preventDefault(); compare($("compared").value.trim()); });
  $("keep-question").addEventListener("click", keepQuestion);
  $("save-set").addEventListener("click", saveSet);
}

function field(word, made) {
  const label = element("label", say(word), "line");
  made.setAttribute("aria-label", say(word));
  label.append(made);
  return label;
}

function number(name, min, max, step) {
  return Object.assign(element("input"), { type: "number", name, min, max, step, placeholder: "–" });
}

function addColumn() {
  const column = element("fieldset", undefined, "card column"), model = Object.assign(element("select"), { name: "model" }), style = Object.assign(element("textarea"), { name: "style", rows: 2 });
  model.append(...me.models.map(each => new Option(each)));
  // An agent searches by itself.
  model.addEventListener("change", () => { for (const each of column.querySelectorAll("[name=limit], [name=dense_weight], [name=rerank]")) each.closest("label").hidden = model.value === "headrace-agent"; });
  column.append(element("legend", `${say("setting")} ${$("columns").children.length + 1}`), field("model", model), field("limit", number("limit", 1, 20, 1)), field("weight", number("dense_weight", 0.05, 1, 0.05)));
  if (me.reranks) column.append(field("rerank", Object.assign(element("input"), { type: "checkbox", name: "rerank", checked: true })));
  column.append(field("style", style), element("ol", undefined, "result"));
  $("columns").append(column);
  $("add-column").hidden = $("columns").children.length >= MOST_COLUMNS;
}

function bodyOf(column, question) {
  const value = name => (column.querySelector(`[name=${name}]`) || {}).value || "", rerank = column.querySelector("[name=rerank]");
  const retrieval = value("model") === "headrace-agent" ? {} : { ...(value("limit") && { limit: Number(value("limit")) }), ...(value("dense_weight") && { dense_weight: Number(value("dense_weight")) }), ...(rerank && !rerank.checked && { rerank: false }) };
  return { question, model: value("model"), ...(value("style") && { style: value("style") }), ...(Object.keys(retrieval).length && { retrieval }) };
}

async function compare(question) {
  if (!question) return;
  $("compare").disabled = true;
  turns = [];
  await Promise.all([...$("columns").children].map(column => run(column, question)));
  $("compare").disabled = false;
}

// Each column is a chat of its own, in no conversation that goes on.
async function run(column, question) {
  const turn = new Turn(question);
  turns.push(turn);
  column.querySelector(".result").replaceChildren(turn.item);
  try {
    const response = await send("chat", bodyOf(column, question), { headers: { accept: "text/event-stream" } });
    turn.name(response);
    for await (const event of events(response)) turn.take(event);
    if (turn.done) await price(turn);
  } catch (error) { turn.fail(error.message); }
}

async function price(turn) {
  if (turn.done.conversation_id) call(`conversations/${turn.done.conversation_id}`, { method: "DELETE" }).catch(() => {});
  const record = me.ledger ? await read(`admin/answers/${turn.request}`).catch(() => null) : null;
  const told = [`${say("firstWord")} ${seconds(turn.times.firstWord)}`, `${say("whole")} ${seconds(turn.times.whole)}`, turn.usage && `${turn.usage.total_tokens} ${say("tokens")}`, record && record.dollars !== null && `$${record.dollars.toFixed(6)}`, `${turn.passages.length} ${say("passages")}`];
  turn.foot.append(element("span", told.filter(Boolean).join(" · "), "soft numbers"));
}

function keepQuestion() {
  const question = $("compared").value.trim(), facts = question && prompt(say("whichFacts"), "");
  if (facts === null || !question) return;
  const named = [...new Set(turns.filter(turn => turn.question === question).flatMap(turn => [...turn.quotes.values()].flat().map(quote => quote.name)))];
  kept = [...kept.filter(each => each.question !== question), { question, ...(facts.trim() ? { facts: facts.split(";").map(fact => fact.trim()).filter(Boolean), ...(named.length && { documents: named }) } : { refused: true }) }];
  $("kept").textContent = `${kept.length} ${say("inSet")}`;
  $("save-set").hidden = false;
}

function saveSet() {
  const link = element("a"), text = kept.map(each => JSON.stringify(each)).join("\n") + "\n";
  link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  link.download = "questions.jsonl";
  link.click();
  URL.revokeObjectURL(link.href);
}
