/** The picture of an utterance on its way: drawn anew when something has come, while its playhead runs over it. */

import { byId } from "./dom.js";
import { coloursOf, drawArrivals, drawAxis, drawLatency, drawLinks, drawSound, lanesOf } from "./lanes.js";
import { sheet, spanOf, whenLooksChange } from "./lanes.js";
import { hush, say } from "./language.js";

/** How often the playhead steps for readers who want nothing to move. */
const CALM_MS = 500;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const EMPTY = { firstS: null, endS: 0 };

export class Timeline {
  #canvas = byId("course");
  #playhead = byId("playhead");
  #ahead = byId("ahead");
  #utterance = null;
  #following = false;
  #stepping = false;
  #stale = true;
  #spanS = spanOf(0);

  constructor() {
    whenLooksChange(this.#canvas, () => this.#draw());
  }

  /** Show this one, and what comes of it until `rest`. */
  follow(utterance) {
    this.#utterance = utterance;
    this.#following = true;
    this.#spanS = spanOf(0);
    this.#stale = true;
    this.#playhead.hidden = this.#ahead.hidden = false;
    // The steps for the last one may go on still.
    if (!this.#stepping) this.#step();
  }

  /** Something has come. */
  touch() {
    this.#stale = true;
  }

  /** Nothing more comes. What was not heard stays pale. */
  rest() {
    this.#following = false;
    this.#draw();
    this.#playhead.hidden = true;
    this.#ahead.hidden = !this.#utterance.stopped;
  }

  #step() {
    this.#stepping = this.#following;
    if (!this.#stepping) return;
    if (this.#stale || this.#utterance.playheadS > this.#spanS) this.#draw();
    else this.#place();
    const next = () => this.#step();
    if (calm.matches) setTimeout(next, CALM_MS);
    else requestAnimationFrame(next);
  }

  #draw() {
    this.#stale = false;
    const course = this.#utterance?.course ?? EMPTY;
    this.#spanS = spanOf(Math.max(course.endS, this.#utterance?.playheadS ?? 0));
    const { pen, box } = sheet(this.#canvas);
    const lanes = lanesOf(box);
    const about = [course, this.#spanS, coloursOf(this.#canvas)];
    drawAxis(pen, lanes, this.#spanS, about[2]);
    if (course.chunks) {
      drawLatency(pen, lanes.arrivals, ...about);
      drawArrivals(pen, lanes.arrivals, ...about);
      drawLinks(pen, lanes.links, ...about);
      drawSound(pen, lanes.sound, ...about);
    }
    this.#tell(course);
    this.#place();
  }

  #place() {
    if (!this.#utterance) return;
    const { sound } = lanesOf({ x: 0, y: 0, width: this.#canvas.clientWidth, height: this.#canvas.clientHeight });
    const { playheadS, course } = this.#utterance;
    const x = (playheadS / this.#spanS) * sound.width;
    this.#playhead.classList.toggle("dry", course.chunks > 0 && playheadS > course.soundToS);
    this.#playhead.style.transform = `translateX(${x.toFixed(1)}px)`;
    this.#playhead.style.height = `${sound.y + sound.height}px`;
    this.#ahead.style.transform = `translate(${x.toFixed(1)}px, ${sound.y}px)`;
    this.#ahead.style.height = `${sound.height}px`;
  }

  /** The same in words. */
  #tell({ chunks, firstS, lastS, soundS, gaps, drySumS }) {
    if (!chunks) {
      say(byId("arrivals-told"), this.#following ? "arrivalsAwaited" : "arrivalsIdle");
      if (this.#following) hush(byId("sound-told"));
      else say(byId("sound-told"), "soundIdle");
      return;
    }
    const values = { chunks, firstMs: (firstS * 1000).toFixed(0), lastS: lastS.toFixed(2) };
    say(byId("arrivals-told"), "arrivalsTold", values);
    const heard = { seconds: soundS.toFixed(2), gaps, dryS: drySumS.toFixed(2) };
    say(byId("sound-told"), gaps ? "soundWithGaps" : "soundWhole", heard);
  }
}
