/** The server's routes that the page uses. Addresses are relative, so that a proxy may serve it all under a prefix. */

import { apiKey } from "./key.js";

const VOICES = "v1/audio/voices";

/** An answer that is not what was asked for. status: 0 where there was no answer at all. */
export class ApiError extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Where speech comes from. */
export function speechAddress() {
  return new URL("synthesize", document.baseURI).href;
}

/**
 * Speech, as it is made. fields: names of /synthesize to strings, and `prompt_wav` to a file. When this returns, the
 * answer's head is there, and its body still to come.
 */
export function speak(fields, signal) {
  return ask(speechAddress(), { method: "POST", body: asForm(fields), signal });
}

/** What a text will say: its `segments`, each with its `text`. */
export async function wordsOf(written, signal) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ text: written });
  return (await ask("v1/text/words", { method: "POST", headers, body, signal })).json();
}

/** The voices, the configured one first. */
export async function voices() {
  return (await (await ask(VOICES)).json()).data;
}

/** Returns the voice as it was stored. */
export async function storeVoice(fields) {
  return (await ask(VOICES, { method: "POST", body: asForm(fields) })).json();
}

/** The recording behind a voice. */
export async function voiceAudio(name) {
  return (await ask(`${VOICES}/${encodeURIComponent(name)}/audio`)).blob();
}

/** Requests that speak with it finish. */
export async function deleteVoice(name) {
  await ask(`${VOICES}/${encodeURIComponent(name)}`, { method: "DELETE" });
}

/** `engine`, and `sample_rate` in Hz, which is null while no worker has loaded the model. */
export async function modelInfo() {
  return (await ask("model_info")).json();
}

async function ask(path, options = {}) {
  const key = apiKey();
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  try {
    const { message, code } = (await response.json()).error;
    return new ApiError(message, response.status, code);
  } catch {
    // A proxy's answer, which is not in the server's shape.
    return new ApiError(response.statusText || "HTTP", response.status, "http");
  }
}

// Without a file it is urlencoded: a browser's multipart form turns the text's line ends into others.
function asForm(fields) {
  const hasFile = Object.values(fields).some((value) => value instanceof Blob);
  const form = hasFile ? new FormData() : new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}
