/** In the audio thread: hands the microphone's samples over in parts of 1024. */

const PART = 1024;

class Capture extends AudioWorkletProcessor {
  #part = new Float32Array(PART);
  #filled = 0;

  process([input]) {
    const samples = input[0] ?? [];
    for (const sample of samples) {
      this.#part[this.#filled++] = sample;
      if (this.#filled === PART) {
        this.port.postMessage(this.#part);
        this.#part = new Float32Array(PART);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
