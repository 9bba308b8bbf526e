/** The page: what its buttons do, and what it tells. */

import { modelInfo, speak, speechAddress } from "./api.js";
import { curlLine, fileName } from "./curl.js";
import { byId, save, setReady } from "./dom.js";
import { noteEngine, offerInstructions } from "./engine.js";
import { readFigures, showFigures } from "./figures.js";
import { beginFolds } from "./folds.js";
import { Heard } from "./heard.js";
import { apiKey, setApiKey } from "./key.js";
import { beginLanguage, hush, say, text } from "./language.js";
import { guard, tell } from "./notices.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { Utterance } from "./utterance.js";
import { Missing, VoicePanel } from "./voices.js";
import { wavFile } from "./wav.js";
import { beginWords, showWords } from "./words.js";

/** CosyVoice2's, until the server has told its own. */
const USUAL_RATE = 24_000;

const player = new Player();
const panel = new VoicePanel(guard, tell, { changed: showCurl, quiet: onStop });
const timeline = new Timeline();
const heard = new Heard({ quiet: onQuiet, changed: onHeard });
let rate = USUAL_RATE;
let utterance = null;
let running = false;

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
  onQuiet();
  heard.stop();
  const mine = new Utterance(player, asked);
  utterance = mine;
  setRunning(true);
  tell("waiting");
  hush(byId("figures-read"));
  try {
    const ended = mine.run(rate, () => onPart(mine));
    showFigures(mine);
    timeline.follow(mine);
    await ended;
    if (!mine.stopped) tell("done");
  } finally {
    onEnd(mine);
  }
}

function onPart(mine) {
  if (mine.stopped) return;
  tell("speaking");
  showFigures(mine);
  timeline.touch();
  setReady(byId("download"), mine.complete);
  setReady(byId("same-seed"), true);
}

function onEnd(mine) {
  heard.add(mine);
  // Else another one has begun.
  if (mine !== utterance) return;
  setRunning(false);
  timeline.rest();
  readFigures(mine);
}

/** Nothing but what is about to sound may be heard. */
function onQuiet() {
  stopSpeaking();
  panel.quiet();
}

function onStop() {
  if (!running && !heard.playing) return;
  stopSpeaking();
  heard.stop();
  tell("stopped");
}

function stopSpeaking() {
  if (running) utterance.stop();
}

function setRunning(to) {
  running = to;
  showRunning();
  setReady(byId("download"), utterance.complete);
  say(byId("speak"), running ? "speakAnew" : "speak");
}

function onHeard() {
  showRunning();
  tell(heard.playing ? "hearing" : "done");
}

function showRunning() {
  setReady(byId("stop"), running || heard.playing);
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

/** The next one shall differ in what else is changed alone. */
function onSameSeed() {
  if (!utterance?.seed) {
    tell("noSeedYet");
    return;
  }
  byId("seed").value = utterance.seed;
  showCurl();
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
  const { engine, instructions, sample_rate: told } = await modelInfo();
  rate = told ?? USUAL_RATE;
  noteEngine(engine);
  offerInstructions(instructions);
  await showWords();
}

function onSubmit(id, action) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    guard(action);
  });
}

beginFolds();
beginWords();
beginLanguage(byId("language"));
// A browser that comes back to the page fills in what was there.
byId("text").value ||= text("sampleText");
onSubmit("key-form", onKey);
onSubmit("speech", onSpeak);
byId("stop").addEventListener("click", onStop);
byId("download").addEventListener("click", () => guard(onDownload));
byId("same-seed").addEventListener("click", onSameSeed);
byId("copy").addEventListener("click", () => guard(onCopy));
byId("speech").addEventListener("input", showCurl);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") onStop();
  else if (event.key === "Enter" && event.ctrlKey) byId("speech").requestSubmit();
});
showCurl();
guard(greet);
