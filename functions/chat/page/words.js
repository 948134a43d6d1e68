// What the page says, in English and German. `data-w` names an element's text, `data-label` its label, `data-hint` its placeholder.

const WORDS = {
  rooms: ["Rooms", "Räume"], chat: ["Chat", "Chat"], documents: ["Documents", "Dokumente"], answers: ["Answers", "Antworten"],
  otherLanguage: ["Auf Deutsch", "In English"], signOut: ["Sign out", "Abmelden"], signIn: ["Your API key or token", "Ihr API-Schlüssel oder Token"], useIt: ["Sign in", "Anmelden"],
  keyRefused: ["This key was not accepted.", "Dieser Schlüssel wurde nicht angenommen."],
  conversations: ["Conversations", "Gespräche"], conversation: ["Conversation", "Gespräch"], newConversation: ["New conversation", "Neues Gespräch"], rename: ["Rename", "Umbenennen"], remove: ["Delete", "Löschen"],
  newTitle: ["New title", "Neuer Titel"], removeSure: ["Delete this conversation?", "Dieses Gespräch löschen?"],
  question: ["Your question", "Ihre Frage"], mode: ["Mode", "Art"], answerMode: ["Answer", "Antwort"], agentMode: ["Agent", "Agent"], keys: ["Enter asks, Shift+Enter begins a line, Esc stops", "Enter fragt, Umschalt+Enter beginnt eine Zeile, Esc hält an"],
  ask: ["Ask", "Fragen"], stop: ["Stop", "Anhalten"], copy: ["Copy", "Kopieren"], copied: ["Copied", "Kopiert"], good: ["Good answer", "Gute Antwort"], poor: ["Poor answer", "Schlechte Antwort"],
  whatIsWrong: ["What is wrong with it?", "Was stimmt daran nicht?"], thanks: ["Thank you.", "Danke."], searching: ["Searching …", "Sucht …"], writing: ["Answering …", "Antwortet …"], answered: ["The answer is complete.", "Die Antwort ist fertig."],
  stopped: ["Stopped.", "Angehalten."], brokeOff: ["The answer broke off. Ask again.", "Die Antwort brach ab. Bitte noch einmal fragen."], goesOn: ["Going on after the connection was lost …", "Geht weiter nach dem Abbruch der Verbindung …"],
  sources: ["Sources", "Quellen"], passages: ["Passages", "Fundstellen"], source: ["Source", "Quelle"], close: ["Close", "Schließen"], showSources: ["Passages", "Fundstellen"], used: ["cited", "zitiert"], notUsed: ["not cited", "nicht zitiert"], score: ["score", "Wert"], similarity: ["similarity", "Ähnlichkeit"],
  numbers: ["How it was made", "Wie sie entstand"], cache: ["Cache", "Zwischenspeicher"], model: ["Model", "Modell"], tokens: ["Tokens", "Tokens"], readAs: ["Searched for", "Gesucht nach"], judged: ["Judge's tokens", "Tokens des Prüfers"], steps: ["Steps", "Schritte"],
  found: ["found", "gefunden"], firstWord: ["First word", "Erstes Wort"], whole: ["whole", "ganz"], age: ["Made", "Entstanden"], secondsAgo: ["s ago", "s zuvor"], unsupported: ["Not borne out by the documents", "Nicht durch die Dokumente gedeckt"], nearest: ["Nearest documents", "Nächste Dokumente"],
  unread: ["documents are still being read", "Dokumente werden noch gelesen"], forgotten: ["This turn could not be kept.", "Dieser Beitrag konnte nicht behalten werden."],
  upload: ["Add documents: choose files, or drop them here", "Dokumente hinzufügen: Dateien wählen oder hierher ziehen"], tags: ["Tags, with commas", "Schlagwörter, mit Kommas"], sending: ["is being sent …", "wird gesendet …"], sent: ["has arrived", "ist angekommen"], notSent: ["could not be sent", "konnte nicht gesendet werden"],
  replaceIt: ["There is a document of this name. Replace it?", "Ein Dokument dieses Namens gibt es schon. Ersetzen?"], filter: ["Filter by name", "Nach Namen filtern"], anyState: ["Any state", "Jeder Zustand"], name: ["Name", "Name"], stateOf: ["State", "Zustand"], labels: ["Groups and tags", "Gruppen und Schlagwörter"], chunks: ["Chunks", "Abschnitte"], size: ["Size", "Größe"],
  noDocuments: ["No documents yet. Put a file into the bucket under documents/, and it appears here.", "Noch keine Dokumente. Legen Sie eine Datei im Bucket unter documents/ ab, und sie erscheint hier."], more: ["more", "weitere"],
  queued: ["queued", "wartet"], parsing: ["being read", "wird gelesen"], embedding: ["being indexed", "wird erschlossen"], ready: ["ready", "bereit"], failed: ["failed", "gescheitert"],
  unanswered: ["Asked in vain", "Vergeblich gefragt"], none: ["Nothing.", "Nichts."], kind: ["Kind", "Art"], all: ["all", "alle"], refused: ["refused", "ohne Antwort"], slow: ["slow", "langsam"], down: ["disliked", "missfallen"], up: ["liked", "gefallen"], when: ["When", "Wann"], asked: ["Question", "Frage"], ended: ["Ended", "Ende"],
  last30: ["Answers in 30 days", "Antworten in 30 Tagen"], fromCache: ["from the cache", "aus dem Zwischenspeicher"], dollars: ["Dollars", "Dollar"], p95: ["First word, 95 %", "Erstes Wort, 95 %"], disliked: ["Disliked", "Missfallen"], who: ["Who", "Wer"], answer: ["Answer", "Antwort"], quotes: ["Quotes", "Zitate"], said: ["Said of it", "Gesagt dazu"], id: ["Request", "Anfrage"],
  compare: ["Compare", "Vergleichen"], toCompare: ["A question to compare", "Eine Frage zum Vergleichen"], setting: ["Setting", "Einstellung"], limit: ["Passages, at most", "Fundstellen, höchstens"], weight: ["Weight of meaning", "Gewicht der Bedeutung"], rerank: ["Reranking", "Neu ordnen"], style: ["Instructions", "Anweisungen"],
  addColumn: ["One more", "Noch eine"], keepQuestion: ["Keep for evaluation", "Für die Bewertung behalten"], saveSet: ["Save the set", "Sammlung sichern"], inSet: ["in the set", "in der Sammlung"],
  whichFacts: ["What does the answer have to say? Facts, with semicolons; nothing, if it has to be refused.", "Was muss die Antwort sagen? Tatsachen, mit Semikolons; nichts, wenn es keine geben darf."],
  evaluations: ["Evaluations", "Bewertungen"], scores: ["Scores, 95 %", "Werte, 95 %"],
  openFile: ["Open the file", "Datei öffnen"], removeDocument: ["Delete this document? Its file is deleted.", "Dieses Dokument löschen? Seine Datei wird gelöscht."], isRemoved: ["Its file is deleted; it goes in a moment.", "Seine Datei ist gelöscht; es verschwindet gleich."],
  noTab: ["The browser has not opened a tab. Allow this page to.", "Der Browser hat keinen Tab geöffnet. Erlauben Sie es dieser Seite."],
  onlyGroups: ["Only for these groups (none: for everybody)", "Nur für diese Gruppen (keine: für alle)"], trace: ["Trace", "Ablauf"], judgedToFit: ["fits", "passt"], judgedOther: ["asks for something else", "fragt nach anderem"],
  steady: ["You are offline, or the server does not answer.", "Sie sind offline, oder der Server antwortet nicht."],
};

let place = (localStorage.getItem("language") || navigator.language || "en").startsWith("de") ? 1 : 0;

export const say = word => WORDS[word][place];

export function translate(root = document) {
  document.documentElement.lang = ["en", "de"][place];
  for (const each of root.querySelectorAll("[data-w]")) each.textContent = say(each.dataset.w);
  for (const each of root.querySelectorAll("[data-label]")) each.setAttribute("aria-label", say(each.dataset.label));
  for (const each of root.querySelectorAll("[data-hint]")) each.placeholder = say(each.dataset.hint);
  document.getElementById("language").lang = ["de", "en"][place];
}

export function switchLanguage() {
  place = 1 - place;
  localStorage.setItem("language", ["en", "de"][place]);
  translate();
}
