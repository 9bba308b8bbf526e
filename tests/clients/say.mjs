// OpenAI's own client for JavaScript, and Vercel's AI SDK: `say.mjs URL MODEL TEXT...`.
// Prints, for each client, a JSON list with the bytes of sound of each text.

import { createOpenAI } from "@ai-sdk/openai";
import { experimental_generateSpeech as generateSpeech } from "ai";
import OpenAI from "openai";

const [url, model, ...texts] = process.argv.slice(2);
const baseURL = `${url}/v1`;
const official = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const provider = createOpenAI({ baseURL, apiKey: "none" });

const sizes = { openai: [], ai: [] };
for (const input of texts) {
  const answer = await official.audio.speech.create({ model, voice: "alloy", input, response_format: "wav" });
  sizes.openai.push((await answer.arrayBuffer()).byteLength);
  const speech = await generateSpeech({ model: provider.speech(model), voice: "alloy", text: input, outputFormat: "wav" });
  sizes.ai.push(speech.audio.uint8Array.byteLength);
}
console.log(JSON.stringify(sizes));
