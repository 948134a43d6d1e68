// The official JavaScript SDK, over Chat Completions and Responses.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ASKED, KEY, MODEL, QUESTION, TURNS, URL, run } from "./cases.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY, maxRetries: 0 });
const chat = (more) => client.chat.completions.create({ model: MODEL, messages: ASKED, ...more });
const tool = { type: "function", function: {
  name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } },
  parse: JSON.parse, function: ({ city }) => `sunny in ${city}`,
} };

async function pieces(stream, text) {
  const found = [];
  for await (const event of stream) {
    const piece = text(event);
    if (piece) found.push(piece);
  }
  return found;
}

await run({
  plain: async () => (await chat()).choices[0].message.content,
  streamed: async () => pieces(await chat({ stream: true }), (chunk) => chunk.choices[0].delta.content),
  stream_helper: async () => {
    const stream = client.chat.completions.stream({ model: MODEL, messages: ASKED });
    return (await stream.finalChatCompletion()).choices[0].message.content;
  },
  turns: async () => (await chat({ messages: TURNS })).choices[0].message.content,
  responses: async () => (await client.responses.create({ model: MODEL, input: QUESTION })).output_text,
  responses_streamed: async () =>
    pieces(await client.responses.create({ model: MODEL, input: QUESTION, stream: true }), (event) =>
      event.type === "response.output_text.delta" ? event.delta : ""),
  unknown_model: () => chat({ model: "gpt-9" }),
  tools: async () => (await client.chat.completions.runTools({ model: MODEL, messages: ASKED, tools: [tool] }).finalContent()),
  structured: async () => JSON.stringify((await client.chat.completions.parse({
    model: MODEL, messages: ASKED, response_format: zodResponseFormat(z.object({ weeks: z.number() }), "leave"),
  })).choices[0].message.parsed),
});
