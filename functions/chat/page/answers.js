// The room of admins: what was asked and what it cost, what was asked in vain, and single answers with all that is known of them.

import { $, element, read, seconds, signButton } from "./api.js";
import { say } from "./words.js";

const KINDS = ["all", "refused", "failed", "slow", "down", "up"];

export function openAnswers() {
  $("kind").append(...KINDS.map(kind => new Option(say(kind), kind)));
  $("kind").addEventListener("change", listRecords);
}

export async function showAnswers() {
  const [usage, asked, evaluated] = await Promise.all([read("admin/usage"), read("admin/unanswered?limit=20"), read("admin/evaluations?limit=20")]);
  const sum = name => usage.days.reduce((total, day) => total + day[name], 0);
  $("usage").replaceChildren(
    tile("last30", sum("answers")), tile("fromCache", sum("cached")), tile("refused", sum("refused")), tile("failed", sum("failed")), tile("tokens", sum("tokens").toLocaleString()),
    tile("dollars", sum("dollars").toFixed(2)), tile("p95", seconds(usage.first_token_seconds.p95)), tile("disliked", sum("disliked")));
  $("unanswered").replaceChildren(...asked.questions.map(each => element("li", `${each.question} (${each.times}${each.nearest.length ? ` · ${say("nearest")}: ${each.nearest.join(", ")}` : ""})`)));
  if (!asked.questions.length) $("unanswered").append(element("li", say("none"), "soft"));
  listEvaluations(evaluated.evaluations);
  await listRecords();
}

// Each with what changed since the run of the same set before it.
function listEvaluations(runs) {
  $("evaluations").replaceChildren(...runs.map((run, place) => {
    const row = element("tr"), name = element("td"), scores = element("td"), before = runs.slice(place + 1).find(each => each.name === run.name);
    name.append(opener(run.name, () => showEvaluation(run.id)));
    scores.append(...Object.entries(run.scores).map(([score, found]) => scoreOf(score, found, before && before.scores[score])));
    row.append(element("td", new Date(run.at * 1000).toLocaleString()), name, scores, element("td", run.tokens), element("td", run.dollars === null ? "?" : run.dollars.toFixed(4)));
    return row;
  }));
  if (!runs.length) {
    const cell = Object.assign(element("td", "make evaluate", "soft"), { colSpan: 5 });
    $("evaluations").appendChild(element("tr")).append(cell);
  }
}

function scoreOf(score, found, before) {
  const change = before ? found.mean - before.mean : 0, told = `${score} ${found.mean.toFixed(2)} (${found.low.toFixed(2)}–${found.high.toFixed(2)})`;
  return element("div", Math.abs(change) < 0.005 ? told : `${told} ${change > 0 ? "+" : "–"}${Math.abs(change).toFixed(2)}`, change < -0.005 ? "bad" : "");
}

async function showEvaluation(id) {
  const found = await read(`admin/evaluations/${id}`), list = element("ul");
  const least = each => Math.min(...Object.values(each.scores));
  list.append(...[...found.questions].sort((a, b) => least(a) - least(b)).map(each => {
    const item = element("li", `${Object.entries(each.scores).map(([score, value]) => `${score} ${value.toFixed(2)}`).join(", ")} · `, least(each) < 1 ? "" : "soft");
    item.append(each.record ? opener(each.question, () => showRecord(each.record)) : each.question);
    if (each.fault) item.append(element("div", each.fault, "bad"));
    return item;
  }));
  reveal(list);
}

// A button that is called by what it opens.
const opener = (shown, open) => signButton(shown, shown, open, "asked");

function reveal(content) {
  $("record").replaceChildren(content);
  $("record").hidden = false;
  $("record").tabIndex = -1;
  $("record").focus();
}

function tile(word, value) {
  const made = element("div", say(word), "tile");
  made.prepend(element("b", value));
  return made;
}

async function listRecords() {
  const { answers } = await read(`admin/answers?limit=50&kind=${$("kind").value}`);
  $("record").hidden = true;
  $("records").replaceChildren(...answers.map(each => {
    const row = element("tr"), asked = element("td");
    asked.append(opener(each.question || each.id, () => showRecord(each.id)));
    const ended = [each.error || each.mode, each.verdict, each.feedback && { up: "+", down: "–" }[each.feedback.rating]].filter(Boolean).join(" · ");
    row.append(element("td", new Date(each.at * 1000).toLocaleString()), asked, element("td", ended, each.error ? "bad" : ""), element("td", each.tokens_spent), element("td", seconds(each.first_token_seconds)));
    return row;
  }));
}

async function showRecord(id) {
  const found = await read(`admin/answers/${id}`), list = element("dl");
  const rows = [
    ["asked", found.question], ["readAs", found.asked_as], ["answer", found.answer], ["said", found.feedback && `${found.feedback.rating} ${found.feedback.comment}`], ["quotes", found.citations.map(each => `[${each.number}] ${each.quote}`).join("\n")],
    ["passages", found.passages.map(each => `${each.is_cited ? "✓" : "–"} [${each.number}] ${each.document} ${each.place} · ${each.score}`).join("\n")], ["unsupported", found.unsupported.join("\n")],
    ["steps", found.steps.map(each => `${each.tool} ${each.state} ${seconds(each.seconds)}`).join("\n")], ["ended", [found.error, found.mode, found.finish].filter(Boolean).join(", ")], ["cache", found.verdict], ["model", found.model],
    ["tokens", `${found.prompt_tokens} + ${found.completion_tokens} + ${found.judge_tokens}`], ["dollars", found.dollars === null ? "?" : found.dollars.toFixed(6)], ["firstWord", seconds(found.first_token_seconds)], ["whole", seconds(found.seconds)], ["who", found.principal], ["id", found.id],
  ];
  for (const [word, value] of rows) if (value) list.append(element("dt", say(word)), element("dd", value));
  reveal(list);
}
