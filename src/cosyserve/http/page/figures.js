/** How fast an utterance goes, in figures: for the eye while it goes, for the ear when it is over. */

import { byId } from "./dom.js";
import { hush, say } from "./language.js";

/** Show those of this utterance, as far as they are known. */
export function showFigures({ firstChunkMs, realTimeFactor, seed, course }) {
  figure("first-chunk", firstChunkMs, "milliseconds", { ms: firstChunkMs?.toFixed(0) });
  figure("audio", course.samples, "seconds", { seconds: course.soundS.toFixed(2) });
  number("real-time-factor", realTimeFactor, realTimeFactor?.toFixed(2));
  number("underruns", course.gaps, course.gaps);
  byId("underruns").classList.toggle("warning", course.gaps > 0);
  number("used-seed", seed || null, seed);
}

/** All at once, as a sentence: figures that change many times a second cannot be read out as they change. */
export function readFigures({ firstChunkMs, realTimeFactor, course }) {
  if (!course.soundS) return;
  say(byId("figures-read"), "figuresRead", {
    ms: firstChunkMs.toFixed(0),
    factor: realTimeFactor.toFixed(2),
    seconds: course.soundS.toFixed(2),
    underruns: course.gaps,
  });
}

function figure(id, value, key, values) {
  if (value) say(byId(id), key, values);
  else hush(byId(id));
  number(id, value || null, byId(id).textContent);
}

/** A figure's exact value is there for programs, as `data`'s value is meant. */
function number(id, value, shown) {
  byId(id).value = value ?? "";
  byId(id).textContent = value === null ? "–" : shown;
}
