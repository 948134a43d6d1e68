// The room of admins: what was asked and what it cost, what was asked in vain, and single answers with all that is known of them.

import { $, button, element, read, seconds } from "./api.js";
import { say } from "./words.js";

const KINDS = ["all", "refused", "failed", "slow", "down", "up"];

export function openAnswers() {
  $("kind").append(...KINDS.map(kind => new Option(say(kind), kind)));
  $("kind").addEventListener("change", listRecords);
}

export async function showAnswers() {
  const [usage, asked] = await Promise.all([read("admin/usage"), read("admin/unanswered?limit=20")]);
  const sum = name => usage.days.reduce((total, day) => total + day[name], 0);
  $("usage").replaceChildren(
    tile("last30", sum("answers")), tile("fromCache", sum("cached")), tile("refused", sum("refused")), tile("failed", sum("failed")), tile("tokens", sum("tokens").toLocaleString()),
    tile("dollars", sum("dollars").toFixed(2)), tile("p95", seconds(usage.first_token_seconds.p95)), tile("disliked", sum("disliked")));
  $("unanswered").replaceChildren(...asked.questions.map(each => element("li", `${each.question} (${each.times}${each.nearest.length ? ` · ${say("nearest")}: ${each.nearest.join(", ")}` : ""})`)));
  if (!asked.questions.length) $("unanswered").append(element("li", say("none"), "soft"));
  await listRecords();
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
    const row = element("tr"), asked = element("td"), open = button("asked", () => showRecord(each.id));
    open.textContent = each.question || each.id;
    delete open.dataset.w;
    asked.append(open);
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
  $("record").replaceChildren(list);
  $("record").hidden = false;
  $("record").tabIndex = -1;
  $("record").focus();
}
