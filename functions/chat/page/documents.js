// The room of documents: what there is and how far it has come, and files on their way into the bucket.

import { $, bytes, button, call, element, events, inPath, openFile, read, send } from "./api.js";
import { say } from "./words.js";

const STATES = ["queued", "parsing", "embedding", "ready", "failed"];
const SHOWN = 200;
const ARRIVAL_SECONDS = 60;
let known = new Map(), counts = {}, watching = null, me = null;
const rows = new Map(), removed = new Set();

export function openDocuments(given) {
  me = given;
  $("groups").hidden = !me.groups.length;
  $("groups").append(...me.groups.map(group => {
    const label = element("label", undefined, "choice");
    label.append(Object.assign(element("input"), { type: "checkbox", value: group }), group);
    return label;
  }));
  $("upload").hidden = !(me.uploads && me.role !== "reader");
  $("filter").addEventListener("input", draw);
  $("state").append(new Option(say("anyState"), ""), ...STATES.map(state => new Option(say(state), state)));
  $("state").addEventListener("change", draw);
  $("file").addEventListener("change", () => { upload([...$("file").files]); $("file").value = ""; });
  $("upload").addEventListener("submit", event => event.preventDefault());
  const room = $("documents");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    room.addEventListener(kind, event => {
      if ($("upload").hidden) return;
      event.preventDefault();
      room.classList.toggle("dropping", kind === "dragover");
      if (kind === "drop") upload([...event.dataTransfer.files]);
    });
  }
}

// While something is on its way its changes are streamed; else the list is looked at now and then.
export async function watchDocuments(isShown) {
  if (watching) return;
  watching = true;
  while (isShown()) {
    try {
      const page = await read(`documents?limit=${SHOWN}`);
      known = new Map(page.documents.map(each => [each.key, each]));
      for (const key of removed) if (!known.has(key)) removed.delete(key);
      counts = page.counts;
      draw();
      if (counts.queued + counts.parsing + counts.embedding > 0) await follow(isShown);
    } catch { /* the next round tries again */ }
    await new Promise(then => setTimeout(then, document.hidden ? 15000 : 2000));
  }
  watching = null;
}

async function follow(isShown) {
  for await (const { name, data } of events(await call(`documents?limit=${SHOWN}`, { headers: { accept: "text/event-stream" } }))) {
    if (name === "document") known.set(data.key, data);
    if (name === "gone") { known.delete(data.key); removed.delete(data.key); }
    if (name === "counts") counts = data;
    draw();
    if (!isShown()) return;
  }
}

function draw() {
  const wanted = $("filter").value.toLowerCase(), state = $("state").value;
  const shown = [...known.values()].filter(each => each.name.toLowerCase().includes(wanted) && (!state || each.state === state)).sort((a, b) => a.key < b.key ? -1 : 1);
  show(shown);
  const all = Object.values(counts).reduce((sum, number) => sum + number, 0);
  $("counts").textContent = STATES.filter(each => counts[each]).map(each => `${counts[each]} ${say(each)}`).join(", ") + (all > known.size ? ` · ${all - known.size} ${say("more")}` : "");
  $("empty").hidden = all > 0;
}

// Rows stay while nothing of theirs has changed: somebody may be about to press a button in one.
function show(shown) {
  const list = $("listed"), keys = new Set(shown.map(each => each.key));
  for (const [key, { row: old }] of rows) if (!keys.has(key)) { old.remove(); rows.delete(key); }
  shown.forEach((each, place) => {
    const told = JSON.stringify([each, removed.has(each.key), document.documentElement.lang]), had = rows.get(each.key);
    if (!had || had.told !== told) {
      const made = row(each);
      if (had) had.row.replaceWith(made);
      rows.set(each.key, { row: made, told });
    }
    const { row: now } = rows.get(each.key);
    if (list.children[place] !== now) list.insertBefore(now, list.children[place] || null);
  });
}

function row(each) {
  const made = element("tr"), state = element("td", say(each.state) + (each.progress === null ? "" : ` ${Math.round(100 * each.progress)} %`), each.state === "failed" ? "bad" : "");
  for (const told of [removed.has(each.key) && say("isRemoved"), each.reason, ...(each.notes || [])]) if (told) state.append(element("div", told, "soft"));
  made.append(nameOf(each), state, element("td", [...each.groups, ...each.tags].join(", ")), element("td", each.chunks), element("td", bytes(each.size_bytes)));
  return made;
}

function nameOf(each) {
  const made = element("td", each.name), acts = element("div", undefined, "line");
  if (me.uploads && each.state === "ready") acts.append(namedButton("openFile", each.name, () => openFile(each.key)));
  if (me.uploads && me.role !== "reader" && !removed.has(each.key)) acts.append(namedButton("remove", each.name, () => remove(each)));
  if (acts.children.length) made.append(acts);
  return made;
}

function namedButton(word, name, act) {
  const made = button(word, act);
  made.setAttribute("aria-label", `${say(word)}: ${name}`);
  return made;
}

async function remove(each) {
  if (!confirm(`${each.name}: ${say("removeDocument")}`)) return;
  await call(`documents/${inPath(each.key)}`, { method: "DELETE" });
  // It leaves the list when ingest has heard of it.
  removed.add(each.key);
  draw();
}

async function upload(files) {
  await Promise.all(files.map(file => put(file, $("uploads").appendChild(element("li", `${file.name} ${say("sending")}`)))));
}

async function put(file, line) {
  const tags = $("tags").value.split(",").map(tag => tag.trim()).filter(Boolean);
  const body = { name: file.name, content_type: /^[\x20-\x7e]+$/.test(file.type) ? file.type : "", tags, groups: [...$("groups").querySelectorAll(":checked")].map(box => box.value) };
  try {
    const form = await (await signed(body)).json();
    removed.delete(form.key);
    const fields = new FormData();
    for (const [name, value] of Object.entries(form.fields)) fields.append(name, value);
    fields.append("file", file);
    // What the bucket says, no page of another origin may read: the record tells whether the file has come.
    await fetch(form.url, { method: "POST", body: fields, mode: "no-cors" });
    line.textContent = `${file.name} ${(await arrives(form.name)) ? say("sent") : say("notSent")}.`;
  } catch (error) {
    line.className = "bad";
    line.textContent = `${file.name} ${say("notSent")}: ${error.message}`;
  }
}

async function signed(body) {
  try { return await send("documents", body); }
  catch (error) {
    if (error.status !== 409 || !confirm(`${body.name}: ${say("replaceIt")}`)) throw error;
    return send("documents", { ...body, replace: true });
  }
}

async function arrives(name) {
  const began = Date.now() / 1000;
  while (Date.now() / 1000 < began + ARRIVAL_SECONDS) {
    const found = await read(`documents/${inPath(name)}`).catch(() => null);
    if (found && found.uploaded_at > began - 10) return true;
    await new Promise(then => setTimeout(then, 1000));
  }
  return false;
}
