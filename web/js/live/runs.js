// Runs as the server tells them (hosts/comfyui/view/live.py), without a page: put together from messages, compared with earlier ones.
// A run: { run: its name, of: places on the axis, span: the first and last that is measured, axis, direction, limit,
// steps: [[place, noise level, [score of each image], [low, high]], ...] }. usual: { name, count } of the calibration that knows what was
// usual there, from low to high; then a step may have these two.

import { isNumber, percentiles } from "../shared/scales.js";

export const MOST_RUNS = 12; // earlier ones that are kept
export const MOST_IMAGES = 128; // of these, since the band is made before the first step of a run is drawn
export const MOST_PLACES = 64; // of a run that are drawn: the chart has little more than 200 pixels
export const ENOUGH = 8; // images that a band is made of
const series = new WeakMap(); // run -> what seriesOf made of it, which is asked for several times a frame
const bands = new WeakMap(); // earlier runs -> { kind of run: their band }
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

// The run with no more steps than are drawn, the last among them. Attempts and comparisons are few, and each stands for itself.
export function thinned(run) {
  const { steps, axis } = run;
  if (steps.length <= MOST_PLACES || axis === "attempt" || axis === "point") return run;
  const every = Math.ceil(steps.length / (MOST_PLACES - 1));
  return { ...run, steps: steps.filter((_, i) => i % every === 0 || i === steps.length - 1) };
}

export const imagesOf = (run) => run.steps[0]?.[2].length ?? 0;

// Earlier runs with this one behind them, the oldest dropped; a run that is there already is replaced.
export function remember(earlier, run) {
  const runs = [...earlier.filter((each) => each.run !== run.run), thinned(run)].slice(-MOST_RUNS);
  while (runs.length > 1 && runs.reduce((sum, each) => sum + imagesOf(each), 0) > MOST_IMAGES) runs.shift();
  return runs;
}

const isAlike = (a, b) => a.of === b.of && a.axis === b.axis && a.direction === b.direction;

// [[place, low, high], ...]: where most images of earlier runs of the same kind were. Empty where there were too few.
// The calibration of the workflow knows it; without one the earlier runs of this tab do.
export function bandOf(earlier, run) {
  const told = run.steps.filter(([, , , sides]) => sides).map(([place, , , sides]) => [place, ...sides]);
  if (told.length && run.axis === "attempt") return run.span.map((place) => [place, ...told[0].slice(1)]); // the same for all
  if (told.length) return told;
  if (earlier.some((each) => each.run === run.run)) return makeBand(earlier.filter((each) => each.run !== run.run), run);
  if (!bands.has(earlier)) bands.set(earlier, {});
  return (bands.get(earlier)[`${run.of} ${run.axis} ${run.direction}`] ??= makeBand(earlier, run));
}

function makeBand(earlier, run) {
  const byPlace = new Map();
  for (const each of earlier.filter((each) => isAlike(each, run))) {
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

// [low, high] of a band at a place, between its places too; null beyond them.
export function bandAt(band, place) {
  const next = band.findIndex(([at]) => at >= place);
  if (next < 0 || (next === 0 && band[0][0] > place)) return null;
  if (band[next][0] === place) return band[next].slice(1);
  const [[from, ...before], [to, ...after]] = [band[next - 1], band[next]];
  return before.map((side, i) => side + ((place - from) / (to - from)) * (after[i] - side));
}

export const isBad = (run, score, low, high) => (run.direction === "high_is_bad" ? score > high : score < low);

// Of each image whether its latest score that the band reaches is worse, or its latest than the run's own limit where it has one.
export function worseThanBand(run, band) {
  const at = new Map(run.steps.map(([place]) => [place, isNumber(run.limit) ? [run.limit, run.limit] : bandAt(band, place)]));
  return seriesOf(run).map((points) => {
    const [place, score] = points.findLast(([place]) => at.get(place)) ?? [];
    return isNumber(score) && isBad(run, score, ...at.get(place));
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
