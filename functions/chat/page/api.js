// Requests to this server, with the key that stays in this tab, and Server-Sent Events of any request.

import { say } from "./words.js";

export const $ = id => document.getElementById(id);

export function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function button(word, act, className = "plain") {
  const made = element("button", say(word), className);
  made.type = "button";
  made.dataset.w = word;
  made.addEventListener("click", act);
  return made;
}

// A button that shows a sign, or somebody's words; `label` says what it does.
export function signButton(shown, label, act, className = "plain") {
  const made = element("button", shown, className);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

export class Fault extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

let unauthenticated = () => {};
export const whenUnauthenticated = then => { unauthenticated = then; };

// The response; a fault for any other than a good one. Paths are relative: the page may stand below a prefix.
export async function call(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(options.body && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) };
  let response;
  try { response = await fetch(path, { ...options, headers }); }
  catch (error) { if (error.name === "AbortError") throw error; throw new Fault(0, say("steady")); }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) unauthenticated();
  throw new Fault(response.status, body.error ? body.error.message : `${response.status}`);
}

export const read = async path => (await call(path)).json();
export const send = (path, body, options = {}) => call(path, { method: "POST", body: JSON.stringify(body), ...options });

// A name or key as part of a path: its folders stay folders.
export const inPath = name => name.split("/").map(encodeURIComponent).join("/");

// The document's file, in a tab of its own; a browser opens one only where somebody clicks, before the link is there.
export async function openFile(key, page) {
  const tab = window.open("", "_blank");
  if (!tab) throw new Error(say("noTab"));
  try {
    const { url } = await read(`files/${inPath(key)}`);
    tab.opener = null;
    tab.location = page ? `${url}#page=${page}` : url;
  } catch (error) { tab.close(); throw error; }
}

// EventSource can only GET, and sends no key.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (buffer + value).split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) {
        const field = name => (new RegExp(`^${name}: (.*)$`, "m").exec(block) || [])[1];
        if (field("data")) yield { name: field("event") || "message", id: field("id"), data: JSON.parse(field("data")) };
      }
    }
  } finally {
    // Who stops reading lets the server know.
    reader.cancel().catch(() => {});
  }
}

export const seconds = value => value === null || value === undefined ? "–" : value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
export const bytes = value => value < 1024 ? `${value} B` : value < 1048576 ? `${(value / 1024).toFixed(1)} kB` : `${(value / 1048576).toFixed(1)} MB`;
