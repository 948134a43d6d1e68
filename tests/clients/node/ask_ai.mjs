// Vercel's AI SDK, with its provider for OpenAI (Responses) and the one for compatible servers (Chat Completions).
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { KEY, MODEL, QUESTION, TURNS, URL, run } from "./cases.mjs";

const openai = createOpenAI({ baseURL: URL, apiKey: KEY });
const compatible = createOpenAICompatible({
  name: "headrace", baseURL: URL, apiKey: KEY, supportsStructuredOutputs: true,
});
const weather = tool({
  description: "The weather in a city.", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}`,
});

function cases(provider) {
  const ask = (more, model = MODEL) => generateText({ model: provider(model), prompt: QUESTION, maxRetries: 0, ...more });
  return {
    plain: async () => (await ask()).text,
    streamed: async () => {
      let failure;
      const stream = streamText({
        model: provider(MODEL), prompt: QUESTION, maxRetries: 0, onError: ({ error }) => { failure = error; },
      });
      const found = [];
      for await (const piece of stream.textStream) found.push(piece);
      if (failure) throw failure;
      return found;
    },
    turns: async () => (await ask({ prompt: undefined, messages: TURNS })).text,
    unknown_model: () => ask({}, "gpt-9"),
    tools: async () => (await ask({ tools: { weather }, stopWhen: stepCountIs(5) })).text,
    structured: async () => JSON.stringify((await ask({ output: Output.object({ schema: z.object({ weeks: z.number() }) }) })).output),
  };
}

const chat = Object.entries(cases((name) => compatible(name))).map(([name, ask]) => [`chat_${name}`, ask]);
await run({ ...cases((name) => openai(name)), ...Object.fromEntries(chat) });
