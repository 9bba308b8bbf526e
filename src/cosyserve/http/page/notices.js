/** What is told to the reader: how it goes, and what went wrong. */

import { ApiError } from "./api.js";
import { byId } from "./dom.js";
import { apiKey } from "./key.js";
import { hush, say } from "./language.js";
import { BrokenOff } from "./utterance.js";
import { Missing } from "./voices.js";

/** How it goes. */
export function tell(key, values) {
  hush(byId("error"));
  say(byId("status"), key, values);
}

/** Run what a button does, and tell the reader what went wrong. */
export async function guard(action) {
  try {
    await action();
  } catch (error) {
    explain(error);
  }
}

function complain(key, values) {
  hush(byId("status"));
  say(byId("error"), key, values);
}

function explain(error) {
  if (error instanceof Missing) complain(error.message);
  else if (error instanceof BrokenOff) complain("brokeOff", { requestId: error.requestId });
  else if (error instanceof ApiError) explainAnswer(error);
  else complain("noSound", { reason: error.message });
}

function explainAnswer({ message, status, code }) {
  if (status) complain("serverSays", { message, status, code });
  else complain("unreachable");
  if (status !== 401) return;
  byId("key-form").hidden = false;
  say(byId("key-hint"), apiKey() ? "keyWrong" : "keyHint");
  byId("key").focus();
}
