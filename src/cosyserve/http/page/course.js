/**
 * What became of one utterance in time: when its chunks arrived, when they were played, when the sound ran dry.
 *
 * Times are seconds since the request. They fall into a fixed number of buckets, which grow when the time runs out of
 * them: an hour takes as much memory as a second, and as long to draw.
 */

const BUCKETS = 4096;
const FINEST_S = 0.005;

export class Course {
  /** What a bucket spans. */
  bucketS = FINEST_S;
  /** By bucket: seconds of audio that arrived in it. */
  arrived = new Float32Array(BUCKETS);
  /** By bucket: when the audio that arrived first in it is played; 0 where none did. */
  heardAt = new Float32Array(BUCKETS);
  /** By bucket: the loudest sample that is played in it, from 0 to 1. */
  loudest = new Float32Array(BUCKETS);
  /** By bucket: how long it was without a sound that was due. */
  dry = new Float32Array(BUCKETS);

  chunks = 0;
  firstS = null;
  lastS = null;
  /** Where what is known ends: the last arrival, or the end of the sound. */
  endS = 0;
  samples = 0;
  soundS = 0;
  /** Where the sound begins and ends. */
  soundFromS = null;
  soundToS = null;
  gaps = 0;
  drySumS = 0;

  /** seconds: of audio, in the chunk. */
  arrive(atS, seconds) {
    this.#reach(atS);
    this.chunks += 1;
    this.firstS ??= atS;
    this.lastS = atS;
    this.arrived[this.#bucket(atS)] += seconds;
  }

  /** samples: Int16Array, of the chunk that came last; played from then on, after dryS seconds of a gap. */
  play(fromS, samples, rate, dryS) {
    const seconds = samples.length / rate;
    this.soundFromS ??= fromS;
    this.soundToS = fromS + seconds;
    this.#reach(this.soundToS);
    this.heardAt[this.#bucket(this.lastS)] ||= fromS;
    this.samples += samples.length;
    this.soundS += seconds;
    samples.forEach((sample, i) => {
      const bucket = this.#bucket(fromS + i / rate);
      this.loudest[bucket] = Math.max(this.loudest[bucket], Math.abs(sample) / 32768);
    });
    if (dryS) this.#runDry(fromS - dryS, fromS);
  }

  /** When this second of the sound was played. */
  timeOf(soundS) {
    let timeS = this.soundFromS + soundS;
    for (let i = this.#bucket(this.soundFromS); i <= this.#bucket(timeS); i++) timeS += this.dry[i];
    return timeS;
  }

  #runDry(fromS, toS) {
    this.gaps += 1;
    this.drySumS += toS - fromS;
    for (let i = this.#bucket(fromS); i <= this.#bucket(toS); i++) {
      const from = Math.max(fromS, i * this.bucketS);
      this.dry[i] += Math.max(0, Math.min(toS, (i + 1) * this.bucketS) - from);
    }
  }

  #bucket(timeS) {
    return Math.min(BUCKETS - 1, Math.max(0, Math.floor(timeS / this.bucketS)));
  }

  #reach(timeS) {
    this.endS = Math.max(this.endS, timeS);
    while (this.endS >= BUCKETS * this.bucketS) this.#widen();
  }

  #widen() {
    this.bucketS *= 2;
    this.arrived = inPairs(this.arrived, (one, other) => one + other);
    this.heardAt = inPairs(this.heardAt, (one, other) => one || other);
    this.loudest = inPairs(this.loudest, Math.max);
    this.dry = inPairs(this.dry, (one, other) => one + other);
  }
}

/** Half as many buckets, each made of two, and as many empty ones. */
function inPairs(buckets, join) {
  const joined = new Float32Array(BUCKETS);
  for (let i = 0; i < BUCKETS / 2; i++) joined[i] = join(buckets[2 * i], buckets[2 * i + 1]);
  return joined;
}
