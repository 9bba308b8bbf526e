/** The part of the page where a voice is picked, uploaded or recorded. */

import { deleteVoice, storeVoice, voiceAudio, voices } from "./api.js";
import { byId } from "./dom.js";
import { hush, say, text } from "./language.js";
import { LIMIT_S, Recorder, whyNot } from "./recorder.js";

/** The configured voice's name. */
export const DEFAULT = "default";

/** Something that the reader has yet to do; its message is a text's key. */
export class Missing extends Error {}

export class VoicePanel {
  #recorder = new Recorder();
  #recording = null;
  #known = [];
  #guard;
  #tell;
  #changed;
  #hushServer;
  #opening = false;

  /**
   * guard: runs what a button does, and tells the reader what went wrong. tell(key, values): the status line.
   * changed: called when the request would be another one. quiet: called where the server must not be heard.
   */
  constructor(guard, tell, { changed, quiet }) {
    this.#guard = guard;
    this.#tell = tell;
    this.#changed = changed;
    this.#hushServer = quiet;
    for (const radio of document.getElementsByName("source")) radio.addEventListener("change", () => this.#turn());
    byId("voice").addEventListener("change", () => this.#showVoice());
    byId("file").addEventListener("change", () => this.#previewOwn());
    this.#onClick("listen", () => this.#listen());
    this.#onClick("delete", () => this.#delete());
    this.#onClick("record", () => this.#toggleRecording());
    this.#onClick("store", () => this.#store());
    byId("name").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      // Else it would submit the form, and speak.
      event.preventDefault();
      byId("store").click();
    });
    say(byId("record-hint"), whyNot() ?? "recordHint", { limit: LIMIT_S });
    this.#show();
  }

  /** Ask the server which voices there are. selected: the one to pick then, else the one that is. */
  async load(selected = byId("voice").value) {
    this.#known = await voices();
    const options = this.#known.map(({ name }) => new Option(name, name, false, name === selected));
    say(options[0], "configured", { name: DEFAULT });
    byId("voice").replaceChildren(...options);
    this.#showVoice();
  }

  /** The fields of a request that are about its voice. Throws Missing. */
  fields() {
    if (this.#source() === "stored") {
      const voice = byId("voice").value;
      return voice === DEFAULT ? {} : { voice };
    }
    const said = byId("prompt-text").value.trim();
    return { prompt_wav: this.#own(), ...(said && { prompt_text: said }) };
  }

  /** The preview must not speak at the same time as the server. */
  quiet() {
    byId("preview").pause();
  }

  #onClick(id, action) {
    byId(id).addEventListener("click", () => this.#guard(action));
  }

  #source() {
    return document.querySelector('input[name="source"]:checked').value;
  }

  #own() {
    const file = this.#source() === "file" ? byId("file").files[0] : this.#recording;
    if (!file) throw new Missing(this.#source() === "file" ? "needFile" : "needRecording");
    return file;
  }

  #turn() {
    if (this.#recorder.recording) this.#endRecording();
    this.#show();
  }

  #show() {
    for (const source of ["stored", "file", "recording"]) byId(`panel-${source}`).hidden = source !== this.#source();
    byId("panel-own").hidden = this.#source() === "stored";
    byId("record").disabled = whyNot() !== null;
    this.#previewOwn();
  }

  #showVoice() {
    const voice = this.#known.find(({ name }) => name === byId("voice").value);
    const about = byId("voice-about");
    if (voice?.instruction) say(about, "aboutInstruction", { text: voice.instruction.replace("<|endofprompt|>", "") });
    else if (voice?.ref_text) say(about, "aboutText", { text: voice.ref_text });
    else hush(about);
    byId("delete").hidden = byId("voice").value === DEFAULT;
    this.#preview(null);
  }

  #previewOwn() {
    const file = { stored: null, file: byId("file").files[0], recording: this.#recording }[this.#source()];
    this.#preview(file ?? null);
  }

  #preview(blob) {
    const player = byId("preview");
    if (player.src) URL.revokeObjectURL(player.src);
    player.hidden = blob === null;
    if (blob) player.src = URL.createObjectURL(blob);
    else player.removeAttribute("src");
  }

  async #listen() {
    this.#hushServer();
    this.#preview(await voiceAudio(byId("voice").value));
    await byId("preview").play();
  }

  async #delete() {
    const name = byId("voice").value;
    if (!window.confirm(text("confirmDelete", { name }))) return;
    await deleteVoice(name);
    await this.load(DEFAULT);
    byId("voice").focus();
    this.#changed();
    this.#tell("deleted", { name });
  }

  async #store() {
    const said = byId("prompt-text").value.trim();
    const fields = { name: byId("name").value, audio_sample: this.#own(), ...(said && { ref_text: said }) };
    const { name } = await storeVoice(fields);
    await this.load(name);
    document.querySelector('input[name="source"][value="stored"]').checked = true;
    byId("name").value = "";
    this.#show();
    byId("voice").focus();
    this.#changed();
    this.#tell("stored", { name });
  }

  async #toggleRecording() {
    if (this.#recorder.recording) {
      this.#endRecording();
      return;
    }
    // The browser may be asking for leave still.
    if (this.#opening) return;
    this.#opening = true;
    this.quiet();
    this.#hushServer();
    try {
      await this.#recorder.start((level) => this.#heard(level));
    } catch (error) {
      this.#tell("recordRefused", { reason: error.message });
      return;
    } finally {
      this.#opening = false;
    }
    this.#showRecording(true);
    this.#tell("recording");
  }

  #heard(level) {
    byId("level").value = level;
    say(byId("recorded"), "seconds", { seconds: this.#recorder.seconds.toFixed(1) });
    if (this.#recorder.seconds >= LIMIT_S) this.#endRecording();
  }

  #endRecording() {
    const seconds = this.#recorder.seconds.toFixed(1);
    this.#recording = this.#recorder.stop();
    const link = byId("save-recording");
    if (link.href) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(this.#recording);
    link.hidden = false;
    this.#showRecording(false);
    this.#previewOwn();
    this.#changed();
    this.#tell("recordedDone", { seconds });
  }

  #showRecording(on) {
    const button = byId("record");
    button.setAttribute("aria-pressed", String(on));
    say(button, on ? "stopRecording" : "record");
    if (!on) byId("level").value = 0;
  }
}
