// One question and its answer, as it is made: text, sources, steps and numbers.

import { $, button, element, openFile, seconds, send, signButton } from "./api.js";
import { marked } from "./vendor/marked.js";
import { say } from "./words.js";

const TAGS = ["p", "br", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "hr", "a"];
const SENTENCE = /[^.!?…\n]+[.!?…\n]+(?=\s|$)/g;

// What there is for who asks: files to open, traces to follow.
let me = {};
export const showFor = given => { me = given; };

// Markdown of a model is a stranger's: no pictures, no scripts, no styles, and links that tell nothing of us.
export function rendered(text) {
  const clean = DOMPurify.sanitize(marked.parse(text), { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "align", "start"], RETURN_DOM_FRAGMENT: true });
  for (const link of clean.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  return clean;
}

export class Turn {
  constructor(question) {
    this.question = question;
    this.text = "";
    this.passages = [];
    this.quotes = new Map();
    this.steps = new Map();
    this.began = performance.now();
    this.times = {};
    this.status = {};
    this.spoken = 0;
    this.item = element("li");
    this.told = element("div", undefined, "told");
    this.note = element("p", say("searching"), "soft note");
    this.stepList = element("ul", undefined, "soft steps");
    this.foot = element("div", undefined, "line foot");
    this.item.append(element("div", question, "asked"), this.stepList, this.told, this.note, this.foot);
  }

  // The server's events, in their order.
  take({ name, data }) {
    const since = (performance.now() - this.began) / 1000;
    if (name === "status") {
      if (data.stage === "restarted") { this.text = ""; this.quotes.clear(); this.spoken = 0; }
      this.status = { ...data, ...(this.status.cache && { cache: this.status.cache, question: this.status.question || data.question }) };
      this.note.textContent = data.stage === "searching" ? say("searching") + (data.question ? ` “${data.question}”` : "") : data.note || say("writing");
    }
    if (name === "passages") { this.passages = data.passages; this.times.found ??= since; }
    if (name === "step") this.step(data);
    if (name === "token") { this.text += data.text; this.times.firstWord ??= since; this.draw(); }
    if (name === "citation") this.quotes.set(data.number, [...(this.quotes.get(data.number) || []), data]);
    if (name === "usage") this.usage = data;
    if (name === "done") { this.done = data; this.times.whole = since; this.end(); }
    if (name === "error") this.fail(data.message);
  }

  step(data) {
    const line = this.steps.get(data.number) || this.stepList.appendChild(element("li"));
    this.steps.set(data.number, line);
    line.textContent = `${data.tool} ${JSON.stringify(data.arguments)} · ${data.state}${data.seconds === undefined ? "" : ` · ${seconds(data.seconds)}`}`;
  }

  // A frame at most: a token more does not draw all of it anew.
  draw() {
    this.frame ??= requestAnimationFrame(() => { this.frame = undefined; this.show(); });
  }

  show() {
    const turns = $("turns"), isAtEnd = turns.scrollHeight - turns.scrollTop - turns.clientHeight < 80;
    this.told.replaceChildren(rendered(this.text));
    const walker = document.createTreeWalker(this.told, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) if (/\[\d+\]/.test(walker.currentNode.data) && !walker.currentNode.parentElement.closest("pre, code, a")) found.push(walker.currentNode);
    for (const node of found) node.replaceWith(...node.data.split(/\[(\d+)\]/).map((part, i) => i % 2 ? this.cite(Number(part)) : part));
    if (isAtEnd) turns.scrollTop = turns.scrollHeight;
    this.speak();
  }

  cite(number) {
    return signButton(number, `${say("source")} ${number}`, () => showSources(this, number), "cite");
  }

  // A screen reader hears sentences, not tokens.
  speak() {
    const sentences = this.text.match(SENTENCE) || [], news = sentences.slice(this.spoken).join(" ").replace(/\[\d+\]|[*_#`]/g, "");
    this.spoken = sentences.length;
    if (news.trim()) $("spoken").textContent = news;
  }

  end() {
    const done = this.done;
    this.show();
    this.note.textContent = [
      done.finish_reason === "stopped" && say("stopped"), this.status.note,
      done.unread && `${done.unread} ${say("unread")}.`, done.nearest.length && done.mode === "refused" && `${say("nearest")}: ${done.nearest.join(", ")}.`,
      ...done.unsupported.map(each => `${say("unsupported")}: “${each.words}”.`), done.forgotten && say("forgotten"),
    ].filter(Boolean).join(" ");
    $("spoken").textContent = say("answered");
    this.foot.replaceChildren(button("copy", event => this.copy(event.currentTarget)), ...this.ratings(), ...(this.passages.length ? [button("showSources", () => showSources(this))] : []));
    this.item.append(this.numbers());
  }

  fail(message) {
    this.failed = true;
    this.note.className = "bad note";
    this.note.setAttribute("role", "alert");
    this.note.textContent = message;
  }

  async copy(where) {
    await navigator.clipboard.writeText(this.text);
    where.textContent = say("copied");
  }

  ratings() {
    if (!this.request) return [];
    return [["good", "up", "+"], ["poor", "down", "–"]].map(([word, rating, sign]) => {
      const made = signButton(sign, say(word), () => this.rate(rating, made));
      made.title = say(word);
      made.setAttribute("aria-pressed", "false");
      return made;
    });
  }

  async rate(rating, pressed) {
    const comment = rating === "down" ? prompt(say("whatIsWrong")) ?? "" : "";
    const wrong = rating === "down" && this.done.answer_id ? { answer_id: this.done.answer_id, verdict: "wrong" } : {};
    try { await send("feedback", { request_id: this.request, rating, comment, ...wrong }); }
    catch (error) { this.fail(error.message); return; }
    for (const each of this.foot.querySelectorAll("[aria-pressed]")) each.setAttribute("aria-pressed", String(each === pressed));
    $("spoken").textContent = say("thanks");
  }

  numbers() {
    const made = element("details"), list = element("dl"), bars = element("div", undefined, "bars");
    made.append(element("summary", `${say("numbers")} · ${this.status.cache || ""} · ${seconds(this.times.whole)}`), bars, list);
    for (const name of ["found", "firstWord", "whole"]) {
      if (this.times[name] === undefined) continue;
      const bar = element("div", undefined, "bar");
      bar.style.width = `${Math.max(1, 100 * this.times[name] / this.times.whole)}%`;
      bars.append(element("span", say(name)), bar, element("span", seconds(this.times[name])));
    }
    const rows = [
      ["cache", [this.status.cache, this.status.similarity && `${say("similarity")} ${this.status.similarity}`].filter(Boolean).join(", ")],
      ["age", this.status.age_seconds !== undefined && `${Math.round(this.status.age_seconds)} ${say("secondsAgo")}`], ["judged", this.status.judge_tokens > 0 && `${say(this.status.cache === "hit" ? "judgedToFit" : "judgedOther")} · ${this.status.judge_tokens} ${say("tokens")}`], ["readAs", this.status.question],
      ["model", this.done.model], ["tokens", this.usage && this.usage.total_tokens > 0 && `${this.usage.prompt_tokens} + ${this.usage.completion_tokens}`], ["id", this.request],
    ];
    for (const [word, value] of rows) if (value) list.append(element("dt", say(word)), element("dd", value));
    if (this.trace) list.append(element("dt", say("trace")), this.traceOf());
    return made;
  }

  // Its id; a link to it, where the deployment says where traces are looked at.
  traceOf() {
    const shown = element("dd", me.trace_url ? undefined : this.trace);
    if (me.trace_url) shown.append(Object.assign(element("a", this.trace), { href: me.trace_url.replaceAll("{trace_id}", this.trace), target: "_blank", rel: "noopener noreferrer" }));
    return shown;
  }

  // What the response's headers say of the request.
  name(response) {
    this.run = response.headers.get("x-run-id");
    this.request ??= response.headers.get("x-run-id") || response.headers.get("x-request-id");
    // Who goes on with an answer that was begun by another request gets that one's trace, and not the answer's.
    if (!response.url.includes("/runs/")) this.trace ??= (response.headers.get("traceparent") || "").split("-")[1];
  }
}

// All passages that were found, those that the answer cites with their quotes marked.
export function showSources(turn, number) {
  $("passages").replaceChildren(...turn.passages.map(passage => {
    const item = element("li", undefined, passage.number === number ? "chosen" : ""), quotes = turn.quotes.get(passage.number) || [];
    item.id = `passage-${passage.number}`;
    item.append(element("strong", `[${passage.number}] ${passage.name}`), element("div", [passage.place, quotes.length ? say("used") : say("notUsed"), `${say("score")} ${passage.score}`, `${say("similarity")} ${passage.similarity}`].filter(Boolean).join(" · "), "soft"));
    item.append(withQuotes(passage.text, quotes));
    if (me.uploads) item.append(button("openFile", () => openFile(passage.document, passage.page)));
    return item;
  }));
  // Beside whatever is shown.
  document.querySelector(".room:not([hidden])").append($("sources"));
  $("sources").hidden = false;
  $("chat").classList.add("with-sources");
  const chosen = number && $(`passage-${number}`);
  if (chosen) { chosen.tabIndex = -1; chosen.focus(); chosen.scrollIntoView({ block: "nearest" }); } else $("close-sources").focus();
}

function withQuotes(text, quotes) {
  const shown = element("p");
  let at = 0;
  for (const { start, end } of [...quotes].sort((a, b) => a.start - b.start)) {
    if (start < at) continue;
    shown.append(text.slice(at, start), element("mark", text.slice(start, end)));
    at = end;
  }
  shown.append(text.slice(at));
  return shown;
}
