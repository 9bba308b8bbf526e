/**
 * The microphone to a WAV file.
 *
 * Captured as samples, not with MediaRecorder: that gives each browser's own compressed container, which the server
 * does not read, and compression that a cloned voice would keep.
 */

import { pcmBytes, wavFile } from "./wav.js";

/** The server takes 30 s; the rest is room. */
export const LIMIT_S = 29;
// What a telephone call wants done to a voice is not what a copy of it wants.
const PLAIN = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** The text that says why there is no recording here; null where there is. */
export function whyNot() {
  if (!window.isSecureContext) return "recordInsecure";
  return navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode ? null : "recordUnsupported";
}

export class Recorder {
  #media = null;
  #context = null;
  #parts = [];
  #samples = 0;

  get recording() {
    return this.#media !== null;
  }

  get seconds() {
    return this.#context ? this.#samples / this.#context.sampleRate : 0;
  }

  /** heard(level) is called for each part that comes, level from 0 to 1. Rejects where there is no microphone. */
  async start(heard) {
    this.#parts = [];
    this.#samples = 0;
    this.#media = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
    try {
      this.#context = new AudioContext();
      await this.#context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
      this.#connect(heard);
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** Returns the recording. */
  stop() {
    const wav = wavFile(this.#parts.map(pcmBytes), this.#context.sampleRate);
    this.#close();
    return new File([wav], "recording.wav", { type: "audio/wav" });
  }

  #connect(heard) {
    const capture = new AudioWorkletNode(this.#context, "capture");
    capture.port.onmessage = ({ data }) => {
      if (!this.recording) return;
      this.#parts.push(data);
      this.#samples += data.length;
      heard(data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0));
    };
    this.#context.createMediaStreamSource(this.#media).connect(capture);
    // It gives no sound, but a node that leads nowhere need not run.
    capture.connect(this.#context.destination);
  }

  #close() {
    this.#media.getTracks().forEach((track) => track.stop());
    this.#media = null;
    this.#context?.close();
    this.#context = null;
  }
}
