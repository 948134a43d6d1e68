// What every client does with the server, in its own way; it prints JSON. A case gives text, or its pieces.

export const URL = process.env.HEADRACE_URL;
export const KEY = process.env.HEADRACE_KEY ?? "any";
export const MODEL = "headrace";
export const QUESTION = "How long is parental leave?";
export const TURNS = [
  { role: "user", content: QUESTION },
  { role: "assistant", content: "It is 26 weeks [1]." },
  { role: "user", content: "And is the leave for fathers?" },
];
export const ASKED = TURNS.slice(0, 1);

export async function run(cases) {
  const results = {};
  for (const [name, ask] of Object.entries(cases)) {
    try {
      const made = await ask();
      const pieces = Array.isArray(made) ? made : [made];
      results[name] = { text: pieces.join(""), pieces: pieces.length };
    } catch (error) {
      results[name] = { error: `${error.name}: ${error.message} ${error.responseBody ?? ""}`.slice(0, 600) };
    }
  }
  console.log(JSON.stringify(results));
}
