// Runs as the server tells them (hosts/comfyui/view/live.py), without a page: put together from messages, compared with earlier ones.
// A run: { run: its name, of: places on the axis, span: the first and last that is measured, axis, direction, limit,
// steps: [[place, noise level, [score of each image], [low, high]], ...] }. usual: { name, count } of the calibration that knows what was
// usual there, from low to high; then a step may have these two.

import { isNumber, percentiles } from "../shared/scales.js";

export const MOST_RUNS = 12; // earlier ones that are kept
export const ENOUGH = 8; // images that a band is made of
const series = new WeakMap(); // run -> what seriesOf made of it, which is asked for several times a frame
const BAND = [10, 90]; // percent

// The run with what a message adds. A message of another run starts anew; one that came twice changes nothing.
export function merge(known, message) {
  const { run, of, span, axis, direction, limit, usual, from, steps } = message;
  const before = known?.run === run ? known.steps : [];
  return { run, of, span, axis, direction, limit, usual, steps: [...before.slice(0, from), ...steps] };
}

// Of each image its [place, score], where it has one. Each attempt draws other images: a series is one of them, with its index in its batch.
export function seriesOf(run) {
  if (!series.has(run)) series.set(run, makeSeries(run));
  return series.get(run);
}

function makeSeries({ steps, axis }) {
  if (axis === "attempt") {
    return steps.flatMap(([place, , scores]) => scores.map((score, index) => (isNumber(score) ? [[place, score, index]] : [])));
  }
  const count = Math.max(0, ...steps.map(([, , scores]) => scores.length));
  return Array.from({ length: count }, (_, image) =>
    steps.filter(([, , scores]) => isNumber(scores[image])).map(([place, , scores]) => [place, scores[image]]),
  );
}

// Earlier runs with this one behind them, the oldest dropped; a run that is there already is replaced.
export const remember = (earlier, run) => [...earlier.filter((each) => each.run !== run.run), run].slice(-MOST_RUNS);

const isAlike = (a, b) => a.of === b.of && a.axis === b.axis && a.direction === b.direction;

// [[place, low, high], ...]: where most images of earlier runs of the same kind were. Empty where there were too few.
// The calibration of the workflow knows it; without one the earlier runs of this tab do.
export function bandOf(earlier, run) {
  const told = run.steps.filter(([, , , sides]) => sides).map(([place, , , sides]) => [place, ...sides]);
  if (told.length && run.axis === "attempt") return run.span.map((place) => [place, ...told[0].slice(1)]); // the same for all
  if (told.length) return told;
  const byPlace = new Map();
  for (const each of earlier) {
    if (each.run === run.run || !isAlike(each, run)) continue;
    for (const [place, , scores] of each.steps) {
      if (!byPlace.has(place)) byPlace.set(place, []);
      byPlace.get(place).push(...scores.filter(isNumber));
    }
  }
  return [...byPlace]
    .filter(([, scores]) => scores.length >= ENOUGH)
    .sort(([a], [b]) => a - b)
    .map(([place, scores]) => [place, ...percentiles(scores, BAND)]);
}

export const isBad = (run, score, low, high) => (run.direction === "high_is_bad" ? score > high : score < low);

// Of each image whether its latest score is worse than the band, or than the run's own limit where it has one.
export function worseThanBand(run, band) {
  const at = new Map(band.map(([place, low, high]) => [place, [low, high]]));
  return seriesOf(run).map((points) => {
    const [place, score] = points.at(-1) ?? [];
    if (isNumber(run.limit)) return isNumber(score) && isBad(run, score, run.limit, run.limit);
    return at.has(place) && isBad(run, score, ...at.get(place));
  });
}

// The image whose latest score is the worst, and that score; image -1 where none has one.
export function worst(run) {
  const sign = run.direction === "high_is_bad" ? 1 : -1;
  return seriesOf(run).reduce(
    (found, points, image) => {
      const score = points.at(-1)?.[1];
      return isNumber(score) && (found.image < 0 || sign * score > sign * found.score) ? { image, score } : found;
    },
    { image: -1, score: null },
  );
}
