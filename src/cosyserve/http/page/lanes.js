/** Draws a course: what arrived above, what is heard below, seconds beneath. */

/** Pixels from one bar to the next, and what of it is bar. */
const PITCH = 3;
const BAR = 2;
const LINES_APART = 9;
const LABELS_APART = 56;
const SPANS_S = [2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 90, 120, 150, 180, 240, 300];
const STEPS_S = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** How many seconds to show: it grows in steps, so that the picture stays calm while it fills. */
export function spanOf(endS) {
  return SPANS_S.find((span) => span >= endS) ?? Math.ceil(endS / 300) * 300;
}

/** The colours of the page as it looks now. */
export function coloursOf(element) {
  const style = getComputedStyle(element);
  const names = ["ink", "soft", "line", "tint", "accent", "warning"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

/** Call this whenever what is drawn on the element would look another way. */
export function whenLooksChange(element, draw) {
  new ResizeObserver(draw).observe(element);
  dark.addEventListener("change", draw);
}

/** Clear a canvas for drawing in CSS pixels, as sharp as its screen. Returns its pen and its box. */
export function sheet(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, box: { x: 0, y: 0, width, height } };
}

/** Where the lanes lie in a picture. */
export function lanesOf({ x, y, width, height }) {
  const axis = 20;
  const upper = Math.round((height - axis) * 0.3);
  const between = 22;
  const lower = height - axis - upper - between;
  return {
    arrivals: { x, y, width, height: upper },
    links: { x, y: y + upper, width, height: between },
    sound: { x, y: y + upper + between, width, height: lower },
    axis: { x, y: y + height - axis, width, height: axis },
  };
}

/** The scale and its lines, which the lanes lie on. */
export function drawAxis(pen, lanes, spanS, colours) {
  const { axis } = lanes;
  const step = STEPS_S.find((seconds) => (seconds / spanS) * axis.width >= LABELS_APART) ?? spanS;
  pen.font = `12px ${getComputedStyle(pen.canvas).fontFamily}`;
  pen.textBaseline = "bottom";
  for (let i = 0; i * step <= spanS; i++) {
    const x = (i * step * axis.width) / spanS;
    pen.fillStyle = colours.line;
    pen.fillRect(Math.min(x, axis.width - 1), lanes.arrivals.y, 1, axis.y - lanes.arrivals.y + 4);
    pen.fillStyle = colours.soft;
    pen.textAlign = i === 0 ? "left" : x > axis.width - LABELS_APART / 2 ? "right" : "center";
    pen.fillText(`${Number((i * step).toFixed(1))} s`, x, axis.y + axis.height);
  }
}

/** From the request to the first chunk: nothing. Where nothing has come yet, it is not known how long. */
export function drawLatency(pen, box, course, spanS, colours) {
  if (course.firstS === null) return;
  pen.fillStyle = colours.tint;
  pen.fillRect(box.x, box.y, (course.firstS * box.width) / spanS, box.height);
}

/** A bar for what arrived, the higher the more audio it is. */
export function drawArrivals(pen, box, course, spanS, colours) {
  const sums = columns(course, course.arrived, spanS, box.width, (one, other) => one + other);
  const most = Math.max(...sums);
  pen.fillStyle = colours.accent;
  sums.forEach((sum, i) => {
    if (!sum) return;
    const height = Math.max(6, Math.sqrt(sum / most) * box.height);
    pen.fillRect(box.x + i * PITCH, box.y + box.height - height, BAR, height);
  });
}

/** From what arrived to where it is heard: how far the one is ahead of the other. */
export function drawLinks(pen, box, course, spanS, colours) {
  const { heardAt, bucketS } = course;
  const toX = (seconds) => box.x + (seconds * box.width) / spanS;
  let last = -Infinity;
  pen.strokeStyle = colours.soft;
  pen.globalAlpha = 0.4;
  pen.beginPath();
  heardAt.forEach((heardS, i) => {
    if (!heardS || toX(heardS) - last < LINES_APART) return;
    last = toX(heardS);
    pen.moveTo(toX(i * bucketS) + BAR / 2, box.y + 1);
    pen.lineTo(last, box.y + box.height - 1);
  });
  pen.stroke();
  pen.globalAlpha = 1;
}

/** The waveform of what is heard, and in the warning's colour where it ran dry. */
export function drawSound(pen, box, course, spanS, colours) {
  const peaks = columns(course, course.loudest, spanS, box.width, Math.max);
  const gaps = columns(course, course.dry, spanS, box.width, (one, other) => one + other);
  const middle = box.y + box.height / 2;
  const perSecond = box.width / spanS / PITCH;
  for (let i = Math.floor(course.soundFromS * perSecond); i < course.soundToS * perSecond; i++) {
    const x = box.x + i * PITCH;
    // Silence is a thin line: it is heard, too.
    const height = Math.max(1, Math.pow(peaks[i], 0.7) * box.height);
    pen.fillStyle = gaps[i] ? colours.warning : colours.accent;
    if (gaps[i]) drawGap(pen, { ...box, x, width: PITCH });
    else pen.fillRect(x, middle - height / 2, BAR, height);
  }
}

/** Pale, since there may be many, on a strong foot, since there should be none. */
function drawGap(pen, { x, y, width, height }) {
  pen.globalAlpha = 0.28;
  pen.fillRect(x, y, width, height);
  pen.globalAlpha = 1;
  pen.fillRect(x, y + height - 4, width, 4);
}

/** The buckets that lie in each bar of a picture, joined to one number. */
function columns(course, buckets, spanS, width, join) {
  const joined = new Float32Array(Math.ceil(width / PITCH));
  const perBucket = (course.bucketS * width) / spanS / PITCH;
  for (let i = 0; i <= course.endS / course.bucketS && i < buckets.length; i++) {
    const column = Math.floor((i + 0.5) * perBucket);
    if (buckets[i] && column < joined.length) joined[column] = join(joined[column], buckets[i]);
  }
  return joined;
}
