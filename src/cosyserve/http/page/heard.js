/** The last utterances, to be heard again and compared. They are in the page's memory alone, and only so many. */

import { byId, setReady } from "./dom.js";
import { whenLooksChange } from "./lanes.js";
import { label, say } from "./language.js";
import { drawStrip } from "./strip.js";
import { DEFAULT } from "./voices.js";
import { wavFile } from "./wav.js";

const MOST = 5;
/** Of sound: 23 minutes at 24 kHz. The last utterance is kept in any case, for the download. */
const MOST_BYTES = 64 * 1024 * 1024;

export class Heard {
  #rows = [];
  #sound = byId("again");
  #playing = null;
  #queue = [];
  #quiet;
  #changed;

  /** quiet: called where nothing else must be heard. changed: called when it begins to play, and when it ends. */
  constructor({ quiet, changed }) {
    this.#quiet = quiet;
    this.#changed = changed;
    this.#sound.addEventListener("timeupdate", () => this.#place());
    this.#sound.addEventListener("ended", () => this.#next());
    byId("play-all").addEventListener("click", () => this.#start(this.#rows));
    byId("clear").addEventListener("click", () => this.#clear());
    whenLooksChange(byId("heard"), () => this.#draw());
  }

  get playing() {
    return this.#playing !== null;
  }

  /** Keep this one, above the others. */
  add(utterance) {
    if (!utterance.pcm.length) return;
    const row = this.#rowOf(utterance);
    this.#rows.unshift(row);
    while (this.#rows.length > MOST || this.#bytes() > MOST_BYTES) {
      if (this.#rows.length === 1) break;
      this.#drop(this.#rows.at(-1));
    }
    byId("heard").prepend(row.element);
    this.#show();
  }

  /** Be silent. */
  stop() {
    this.#queue = [];
    if (this.playing) this.#end();
  }

  #bytes() {
    return this.#rows.reduce((sum, { size }) => sum + size, 0);
  }

  #rowOf(utterance) {
    const element = byId("heard-row").content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`.${name}`);
    const row = { utterance, element, button: part("play"), strip: part("strip"), ahead: part("ahead") };
    row.size = utterance.pcm.reduce((sum, bytes) => sum + bytes.byteLength, 0);
    row.text = utterance.fields.text.trim().slice(0, 200);
    part("said").textContent = row.text;
    this.#tellAbout(utterance, part);
    label(part("forget"), "forget", { text: row.text });
    row.button.addEventListener("click", () => (this.#playing === row ? this.stop() : this.#start([row])));
    part("forget").addEventListener("click", () => this.#forget(row));
    label(row.button, "playAgain", { text: row.text });
    this.#showButton(row);
    return row;
  }

  #tellAbout({ fields, seed, firstChunkMs, course }, part) {
    part("who").textContent = fields.prompt_wav?.name ?? fields.voice ?? DEFAULT;
    part("how").textContent = [fields.instruction, fields.speed && `× ${fields.speed}`].filter(Boolean).join(", ");
    say(part("seed"), "withSeed", { seed });
    say(part("first"), "firstAfter", { ms: firstChunkMs.toFixed(0) });
    say(part("length"), "seconds", { seconds: course.soundS.toFixed(2) });
  }

  #start(rows) {
    this.stop();
    this.#quiet();
    this.#queue = [...rows];
    this.#next();
  }

  #next() {
    if (this.playing) this.#end();
    const row = this.#queue.shift();
    if (row) this.#play(row);
  }

  #play(row) {
    const { pcm, rate } = row.utterance;
    this.#playing = row;
    this.#sound.src = URL.createObjectURL(wavFile(pcm, rate));
    // It rejects where it is stopped before it has begun.
    this.#sound.play().catch(() => {});
    this.#place();
    this.#showButton(row);
    this.#changed();
  }

  #end() {
    const row = this.#playing;
    this.#playing = null;
    this.#sound.pause();
    URL.revokeObjectURL(this.#sound.src);
    row.ahead.hidden = true;
    this.#showButton(row);
    this.#changed();
  }

  #showButton(row) {
    row.button.setAttribute("aria-pressed", String(this.#playing === row));
  }

  #place() {
    if (!this.playing) return;
    const { ahead, strip, utterance } = this.#playing;
    const x = (utterance.course.timeOf(this.#sound.currentTime) / this.#longest()) * strip.clientWidth;
    ahead.hidden = false;
    ahead.style.transform = `translateX(${x.toFixed(1)}px)`;
  }

  #longest() {
    return Math.max(...this.#rows.map(({ utterance }) => utterance.course.endS));
  }

  #forget(row) {
    this.#drop(row);
    this.#show();
    // The focus was on what has gone.
    (this.#rows[0]?.button ?? byId("text")).focus();
  }

  #clear() {
    while (this.#rows.length) this.#drop(this.#rows[0]);
    this.#show();
    byId("text").focus();
  }

  #drop(row) {
    this.#queue = this.#queue.filter((other) => other !== row);
    if (this.#playing === row) this.stop();
    this.#rows = this.#rows.filter((other) => other !== row);
    row.element.remove();
  }

  #show() {
    byId("history").hidden = !this.#rows.length;
    setReady(byId("play-all"), this.#rows.length > 1);
    this.#draw();
  }

  /** All on one scale, so that they can be compared. */
  #draw() {
    for (const { strip, utterance } of this.#rows) drawStrip(strip, utterance.course, this.#longest());
  }
}
