/**
 * Plays PCM while it comes, without a gap or a click between its parts.
 *
 * The context runs at the audio's own rate and every part begins on the sample after the last one's, so the browser
 * resamples nothing but the whole. An AudioWorklet would do as much, but browsers have it over HTTPS and on localhost
 * alone.
 */

/** Between a part's coming and its sound, in seconds and beside the browser's own: room for a busy page. */
const LEAD_S = 0.05;

export class Player {
  #context = null;
  #sources = new Set();
  #nextFrame = 0;
  #ended = false;
  #finish = () => {};

  /** Samples that were handed over for playing. */
  samples = 0;
  /** How often the sound ran dry before the next part came. */
  underruns = 0;

  /** Begin anew, at this rate in Hz. Browsers want it called in a click; it rejects where no sound is to be had. */
  async open(rate) {
    this.stop();
    this.samples = this.underruns = this.#nextFrame = 0;
    this.#ended = false;
    if (this.#context?.sampleRate !== rate) {
      await this.#context?.close();
      this.#context = new AudioContext({ sampleRate: rate });
    }
    await this.#context.resume();
  }

  /** Hz; what was asked for. */
  get rate() {
    return this.#context.sampleRate;
  }

  /** samples: Int16Array, the next part. */
  feed(samples) {
    const buffer = this.#context.createBuffer(1, samples.length, this.rate);
    buffer.getChannelData(0).set(Float32Array.from(samples, (sample) => sample / 32768));
    const now = this.#context.currentTime;
    if (this.#nextFrame <= now * this.rate) {
      if (this.samples) this.underruns += 1;
      this.#nextFrame = Math.ceil((now + this.#context.baseLatency + LEAD_S) * this.rate);
    }
    this.#start(buffer);
    this.#nextFrame += samples.length;
    this.samples += samples.length;
  }

  /** No more is to come. Resolves when all is heard, or stopped. */
  end() {
    this.#ended = true;
    return new Promise((resolve) => {
      this.#finish = resolve;
      this.#finishIfSilent();
    });
  }

  /** Silence, at once. */
  stop() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.#sources.clear();
    this.#finish();
  }

  #start(buffer) {
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.onended = () => {
      this.#sources.delete(source);
      this.#finishIfSilent();
    };
    this.#sources.add(source);
    source.start(this.#nextFrame / this.rate);
  }

  #finishIfSilent() {
    if (this.#ended && !this.#sources.size) this.#finish();
  }
}
