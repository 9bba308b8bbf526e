/** One text on its way from the server to the ear, and how fast it goes. */

import { speak } from "./api.js";
import { Course } from "./course.js";

/** The server ended the stream before its end. */
export class BrokenOff extends Error {
  constructor(requestId) {
    super("broken off");
    this.requestId = requestId;
  }
}

export class Utterance {
  #player;
  #abort = new AbortController();
  #beganAt = 0;
  #odd = new Uint8Array(0);
  #reading = true;
  /** What the player's clock is behind the time since the request; null until something plays. */
  #clockBehindS = null;
  #restedAtS = null;

  /** What came, in order: bytes of 16-bit samples. */
  pcm = [];
  /** Hz. */
  rate = 0;
  seed = "";
  firstChunkMs = null;
  realTimeFactor = null;
  course = new Course();

  constructor(player, fields) {
    this.#player = player;
    this.fields = fields;
  }

  get stopped() {
    return this.#abort.signal.aborted;
  }

  /** Whether there is audio to keep, and no more to come. */
  get complete() {
    return !this.#reading && this.pcm.length > 0;
  }

  /** How far it is on its course: seconds since the request. */
  get playheadS() {
    if (this.#restedAtS !== null) return this.#restedAtS;
    if (this.#clockBehindS === null) return this.#elapsedS;
    return this.#player.clock + this.#clockBehindS;
  }

  /**
   * Ask, and play what comes; ends when all is heard. expectedRate: Hz, of the player that a click opens before the
   * answer says better. progress is called after each part and after the last. Throws ApiError and BrokenOff; a stop is
   * no error.
   */
  async run(expectedRate, progress) {
    try {
      const opened = this.#player.open(expectedRate);
      this.#beganAt = performance.now();
      const [response] = await Promise.all([speak({ ...this.fields, format: "pcm" }, this.#abort.signal), opened]);
      if (this.stopped) return;
      this.rate = Number(response.headers.get("x-sample-rate"));
      this.seed = response.headers.get("x-seed");
      if (this.rate !== this.#player.rate) await this.#player.open(this.rate);
      await this.#read(response, progress);
      this.#reading = false;
      progress();
      if (!this.stopped) await this.#player.end();
    } catch (error) {
      if (!this.stopped) throw error;
    } finally {
      this.#restedAtS ??= this.course.endS;
    }
  }

  /** The server is told, and nothing more is heard. */
  stop() {
    this.#restedAtS ??= this.playheadS;
    this.#reading = false;
    this.#abort.abort();
    this.#player.stop();
  }

  async #read(response, progress) {
    const reader = response.body.getReader();
    for (;;) {
      let part;
      try {
        part = await reader.read();
      } catch {
        if (this.stopped) return;
        this.#reading = false;
        await this.#player.end();
        throw new BrokenOff(response.headers.get("x-request-id"));
      }
      if (part.done || this.stopped) return;
      this.#take(part.value);
      progress();
    }
  }

  #take(bytes) {
    const elapsedS = this.#elapsedS;
    this.firstChunkMs ??= elapsedS * 1000;
    const whole = this.#wholeSamples(bytes);
    this.course.arrive(elapsedS, whole.length / 2 / this.rate);
    if (!whole.length) return;
    this.pcm.push(whole);
    this.#play(new Int16Array(whole.buffer, 0, whole.length / 2));
    this.realTimeFactor = elapsedS / this.course.soundS;
  }

  #play(samples) {
    const { fromS, dryS } = this.#player.feed(samples);
    this.#clockBehindS ??= this.#elapsedS - this.#player.clock;
    this.course.play(fromS + this.#clockBehindS, samples, this.rate, dryS);
  }

  get #elapsedS() {
    return (performance.now() - this.#beganAt) / 1000;
  }

  /** The network cuts where it likes; half a sample waits for its other half. */
  #wholeSamples(bytes) {
    const joined = new Uint8Array(this.#odd.length + bytes.length);
    joined.set(this.#odd);
    joined.set(bytes, this.#odd.length);
    const even = joined.length - (joined.length % 2);
    this.#odd = joined.slice(even);
    return joined.slice(0, even);
  }
}
