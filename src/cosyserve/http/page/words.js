/** What the server will read of the text, under its box, while it is being written. */

import { ApiError, wordsOf } from "./api.js";
import { byId } from "./dom.js";
import { hush, say } from "./language.js";

/** A writer's pause. */
const PAUSE_MS = 300;

let waiting = 0;
let asked = new AbortController();

/** From now on. */
export function beginWords() {
  byId("text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(showWords, PAUSE_MS);
  });
}

/** Where it is not what is written anyway. A server that cannot tell is not asked to explain: this is a help alone. */
export async function showWords() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  const written = byId("text").value.trim();
  try {
    const { segments } = written ? await wordsOf(written, signal) : { segments: [] };
    const words = segments.map((segment) => segment.text).join(" / ");
    if (words && words !== written) say(byId("words"), "readAs", { words });
    else hush(byId("words"));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 422) say(byId("words"), "notRead", { reason: error.message });
    else hush(byId("words"));
  }
}
