/** The page: what its buttons do, and what it tells. */

import { ApiError, modelInfo, speak, speechAddress } from "./api.js";
import { curlLine, fileName } from "./curl.js";
import { byId, save, setReady } from "./dom.js";
import { apiKey, setApiKey } from "./key.js";
import { beginLanguage, hush, say, text } from "./language.js";
import { Player } from "./player.js";
import { BrokenOff, Utterance } from "./utterance.js";
import { Missing, VoicePanel } from "./voices.js";
import { wavFile } from "./wav.js";

/** CosyVoice2's, until the server has told its own. */
const USUAL_RATE = 24_000;

const player = new Player();
const panel = new VoicePanel(guard, tell, { changed: showCurl, quiet: onStop });
let rate = USUAL_RATE;
let utterance = null;
let running = false;

// --- what is told ----------------------------------------------------------------------------------------------------

function tell(key, values) {
  hush(byId("error"));
  say(byId("status"), key, values);
}

function complain(key, values) {
  hush(byId("status"));
  say(byId("error"), key, values);
  byId("error").scrollIntoView({ block: "nearest" });
}

/** Run what a button does, and tell the reader what went wrong. */
async function guard(action) {
  try {
    await action();
  } catch (error) {
    explain(error);
  }
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

function showFigures() {
  const { firstChunkMs, realTimeFactor, seed } = utterance;
  figure("first-chunk", firstChunkMs, "milliseconds", { ms: firstChunkMs?.toFixed(0) });
  figure("audio", player.samples, "seconds", { seconds: (player.samples / (utterance.rate || rate)).toFixed(2) });
  number("real-time-factor", realTimeFactor, realTimeFactor?.toFixed(2));
  number("underruns", player.underruns, player.underruns);
  number("used-seed", seed || null, seed);
}

function figure(id, value, key, values) {
  if (value) say(byId(id), key, values);
  else hush(byId(id));
  number(id, value || null, byId(id).textContent);
}

/** A figure's exact value is there for programs, as `data`'s value is meant. */
function number(id, value, shown) {
  byId(id).value = value ?? "";
  byId(id).textContent = value === null ? "–" : shown;
}

// --- what is asked ---------------------------------------------------------------------------------------------------

/** The fields of the request as the form has them now; what is not filled in is not sent. Throws Missing. */
function fields() {
  const asked = { text: byId("text").value, ...panel.fields() };
  const instruction = byId("instruction").value.trim();
  const speed = Number(byId("speed").value);
  const seed = byId("seed").value.trim();
  if (instruction) asked.instruction = instruction;
  if (speed !== 1) asked.speed = String(speed);
  if (seed) asked.seed = seed;
  return { ...asked, format: byId("format").value };
}

function showCurl() {
  byId("speed-shown").value = Number(byId("speed").value).toFixed(2);
  try {
    byId("curl").value = curlLine(speechAddress(), fields(), apiKey() !== "");
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    byId("curl").value = "";
  }
}

// --- what buttons do -------------------------------------------------------------------------------------------------

async function onSpeak() {
  const asked = fields();
  utterance?.stop();
  panel.quiet();
  const mine = new Utterance(player, asked);
  utterance = mine;
  setRunning(true);
  tell("waiting");
  try {
    const ended = mine.run(rate, () => {
      if (mine.stopped) return;
      tell("speaking");
      showFigures();
      setReady(byId("download"), mine.complete);
    });
    showFigures();
    await ended;
    if (!mine.stopped) tell("done");
  } finally {
    if (mine === utterance) setRunning(false);
  }
}

function onStop() {
  if (!running) return;
  utterance.stop();
  showFigures();
  tell("stopped");
}

function setRunning(to) {
  running = to;
  setReady(byId("stop"), running);
  setReady(byId("download"), utterance.complete);
  say(byId("speak"), running ? "speakAnew" : "speak");
}

async function onDownload() {
  if (!utterance?.complete) {
    tell("nothingYet");
    return;
  }
  const format = byId("format").value;
  const name = fileName(format);
  save(await heardAs(format), name);
  tell("downloaded", { file: name });
}

/** What was heard, as it came; a format that only the server can make is made there, of the same audio. */
async function heardAs(format) {
  const { pcm, rate: heardRate, fields: asked, seed } = utterance;
  if (format === "pcm") return new Blob(pcm, { type: "audio/pcm" });
  if (format === "wav") return wavFile(pcm, heardRate);
  tell("downloadingSame", { format });
  return (await speak({ ...asked, seed, format })).blob();
}

async function onCopy() {
  const line = byId("curl");
  try {
    await navigator.clipboard.writeText(line.value);
    tell("copied");
  } catch {
    // Without HTTPS there is no clipboard.
    line.select();
    tell(document.execCommand("copy") ? "copied" : "copyByHand");
  }
}

async function onKey() {
  setApiKey(byId("key").value);
  tell("tryingKey");
  await greet();
  say(byId("key-hint"), "keyHint");
  showCurl();
  tell("keyTaken");
  byId("text").focus();
}

/** What the page has to know of the server before anybody asks for anything. */
async function greet() {
  await panel.load();
  const { engine, sample_rate: told } = await modelInfo();
  rate = told ?? USUAL_RATE;
  if (engine === "demo") say(byId("engine"), "demoEngine");
}

function onSubmit(id, action) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    guard(action);
  });
}

beginLanguage(byId("language"));
// A browser that comes back to the page fills in what was there.
byId("text").value ||= text("sampleText");
onSubmit("key-form", onKey);
onSubmit("speech", onSpeak);
byId("stop").addEventListener("click", onStop);
byId("download").addEventListener("click", () => guard(onDownload));
byId("copy").addEventListener("click", () => guard(onCopy));
byId("speech").addEventListener("input", showCurl);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") onStop();
  else if (event.key === "Enter" && event.ctrlKey) byId("speech").requestSubmit();
});
showCurl();
guard(greet);
