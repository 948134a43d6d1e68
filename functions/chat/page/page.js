const $ = id => document.getElementById(id);
let conversation = null;
const SHOWN = 100;

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

// The key stays in this tab: it is gone when the tab is.
function call(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  return fetch(path, { ...options, headers }).then(response => {
    $("key-form").hidden = response.status !== 401;
    return response;
  });
}

$("key-form").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  $("status").textContent = "";
  showDocuments.now();
});

// Server-Sent Events from a POST: EventSource can only GET.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block), data = /^data: (.*)$/m.exec(block);
      if (data) yield { name: name ? name[1] : "message", data: JSON.parse(data[1]) };
    }
  }
}

function showAnswer(text) {
  const parts = text.split(/\[(\d+)\]/);
  $("answer").replaceChildren(...parts.map((part, i) => {
    if (i % 2 === 0) return document.createTextNode(part);
    const link = element("a", `[${part}]`);
    link.href = `#source-${part}`;
    return link;
  }));
}

function showCitation(c) {
  const shown = document.getElementById(`source-${c.number}`);
  if (shown) {
    // Another sentence of a passage that is there.
    shown.append(element("blockquote", c.quote));
    return;
  }
  const item = element("li");
  item.id = `source-${c.number}`;
  item.value = c.number;
  item.append(element("strong", c.name), element("span", `  ${c.place}`, "soft"), element("blockquote", c.quote));
  $("citations").append(item);
  $("sources").hidden = false;
}

async function ask(question) {
  $("citations").replaceChildren();
  $("sources").hidden = true;
  $("answer").className = "";
  $("status").className = "";
  $("status").textContent = "Searching …";
  let text = "", note = "", asked = "", finished = false;
  showAnswer("");
  const response = await call("chat", { method: "POST", headers: { "content-type": "application/json", "accept": "text/event-stream" },
    body: JSON.stringify({ question, ...(conversation && { conversation_id: conversation }) }) });
  if (!response.ok) throw new Error((await response.json()).error.message);
  for await (const { name, data } of events(response)) {
    if (name === "status") {
      if (data.stage === "restarted") { text = ""; showAnswer(text); }
      note = data.note || ""; asked = data.question || asked;
      $("status").textContent = data.stage === "searching" ? `Searching …${asked && ` “${asked}”`}` : note;
    }
    else if (name === "token") { text += data.text; showAnswer(text); }
    else if (name === "citation") showCitation(data);
    else if (name === "error") throw new Error(data.message);
    else if (name === "done") { finished = true; conversation = data.conversation_id; $("status").textContent = [
        note, asked && `Asked as “${asked}”.`, data.cached && "Remembered answer.",
        data.unread && `${data.unread} documents are still being read.`,
        data.mode === "refused" && data.nearest.length && `Nearest: ${data.nearest.join(", ")}.`,
        ...data.unsupported.map(each => `Not borne out by the documents: “${each.words}”.`),
        data.forgotten && "This turn could not be kept.",
      ].filter(Boolean).join(" "); }
  }
  if (!finished) throw new Error("The answer broke off. Ask again.");
}

$("form").addEventListener("submit", async event => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question) return;
  $("ask").disabled = true;
  try { await ask(question); }
  catch (error) { $("status").className = "bad"; $("status").textContent = error.message; }
  finally { $("ask").disabled = false; }
});

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

async function listed() {
  const response = await call("documents");
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body;
}

// While a document is on its way, its changes are streamed; then the page looks now and then, which costs next to nothing.
async function showDocuments() {
  try {
    let { documents, counts } = await listed();
    const known = new Map(documents.map(d => [d.key, d]));
    listDocuments([...known.values()], counts);
    if (!document.hidden && counts.queued + counts.parsing + counts.embedding > 0) {
      for await (const { name, data } of events(await call("documents", { headers: { accept: "text/event-stream" } }))) {
        if (name === "document") known.set(data.key, data);
        if (name === "gone") known.delete(data.key);
        if (name === "counts") counts = data;
        listDocuments([...known.values()].sort((a, b) => a.key < b.key ? -1 : 1).slice(0, SHOWN), counts);
      }
    }
  } catch { /* the next round tries again */ }
  clearTimeout(showDocuments.timer);
  showDocuments.timer = setTimeout(showDocuments, document.hidden || !$("key-form").hidden ? 15000 : 2000);
}
showDocuments.now = () => { clearTimeout(showDocuments.timer); showDocuments(); };

function listDocuments(documents, counts) {
  $("documents").replaceChildren(...documents.map(d => {
    const row = element("tr");
    const progress = d.progress === null ? "" : ` ${Math.round(100 * d.progress)} %`;
    const state = element("td", d.state + progress, d.state === "failed" ? "bad" : "");
    if (d.reason) state.append(element("div", d.reason, "soft"));
    row.append(element("td", d.name), state, element("td", d.chunks), element("td", size(d.size_bytes)));
    return row;
  }));
  const more = Object.values(counts).reduce((sum, number) => sum + number, 0) - documents.length;
  if (more > 0) {
    const row = element("tr");
    row.append(element("td", `… and ${more} more`, "soft"));
    $("documents").append(row);
  }
  $("empty").hidden = documents.length > 0;
}
showDocuments();
