/** A course in one line: nothing until the first chunk, then the sound. */

import { coloursOf, drawLatency, drawSound, sheet } from "./lanes.js";

/** spanS: what the canvas's width stands for. */
export function drawStrip(canvas, course, spanS) {
  const { pen, box } = sheet(canvas);
  const colours = coloursOf(canvas);
  drawLatency(pen, box, course, spanS, colours);
  drawSound(pen, box, course, spanS, colours);
}
