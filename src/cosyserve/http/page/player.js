/**
 * Plays PCM while it comes, without a gap or a click between its parts.
 *
 * The context runs at the audio's own rate and every part begins on the sample after the last one's, so the browser
 * resamples nothing but the whole. An AudioWorklet would do as much, but browsers have it over HTTPS and on localhost
 * alone.
 */

/** Between a part's coming and its sound, in seconds and beside the browser's own: room for a busy page. */
const LEAD_S = 0.05;
/**
 * How far past its frame a part starts, in frames. A start is told in seconds, which for many a frame come out a rounding
 * error early; browsers take that for a start between two samples, and interpolate. This much late they round away.
 */
const HAIR = 2 ** -12;
/** Frames: two of the blocks in which browsers render. What is to start in a block under way starts after it. */
const UNDER_WAY = 256;

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

  /** Seconds, running on whether anything plays or not. */
  get clock() {
    return this.#context.currentTime;
  }

  /** samples: Int16Array, the next part. Returns where on the clock it begins, and how long nothing is heard before it. */
  feed(samples) {
    const source = this.#newSource(samples);
    const due = this.#nextFrame;
    if (due < this.#soonestFrame()) this.#nextFrame = this.#frameIn(this.#context.baseLatency + LEAD_S);
    source.start((this.#nextFrame + HAIR) / this.rate);
    // A busy machine may have held this thread up until that frame was past. The part then begins late, though not after
    // what is the soonest by now, and its end is not to be mixed with the next.
    this.#nextFrame = Math.max(this.#nextFrame, this.#soonestFrame());
    const begins = this.#nextFrame;
    const dry = this.samples ? begins - due : 0;
    if (dry) this.underruns += 1;
    this.#nextFrame += samples.length;
    this.samples += samples.length;
    return { fromS: begins / this.rate, dryS: dry / this.rate };
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

  /** Whose start, told now, is not too late. */
  #soonestFrame() {
    return this.#frameIn(0) + UNDER_WAY;
  }

  #frameIn(seconds) {
    return Math.ceil((this.#context.currentTime + seconds) * this.rate);
  }

  #newSource(samples) {
    const buffer = this.#context.createBuffer(1, samples.length, this.rate);
    buffer.getChannelData(0).set(Float32Array.from(samples, (sample) => sample / 32768));
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.onended = () => {
      this.#sources.delete(source);
      this.#finishIfSilent();
    };
    this.#sources.add(source);
    return source;
  }

  #finishIfSilent() {
    if (this.#ended && !this.#sources.size) this.#finish();
  }
}
