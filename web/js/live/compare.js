// Scores beside what was usual at the same place, without a page. From the first step to the last a score may shrink a thousandfold, and
// on one axis the band of earlier images would be a hairline: here it is as wide everywhere.

import { clamp } from "../shared/scales.js";
import { bandAt } from "./runs.js";

export const SIDES = [-1, 1]; // of the band, in the unit of what is shown: half its width
const [LEAST, MOST] = [2.5, 6]; // how far the axis reaches to each side; what lies beyond is drawn at its end

// [low, high] of each place that the run has come to and the band reaches; null where there is none, or the run has a limit of its own.
export function usualSides(run, band) {
  if (run.axis === "attempt" || Number.isFinite(run.limit)) return null;
  const sides = new Map(run.steps.map(([place]) => [place, bandAt(band, place)]).filter(([, side]) => side));
  return sides.size ? sides : null;
}

// The places that the axis goes between: from where the band begins to the end of the run, or of the band once the run has left it.
export function placesShown(run, sides) {
  const [first, last] = [Math.min(...sides.keys()), Math.max(...sides.keys())];
  const end = run.steps.at(-1)[0] > last ? last : run.span[1];
  return [first, Math.max(first, end)];
}

// Of each image [[place, how far from the band's middle], ...]. series: scores at places that have sides.
export const compared = (series, sides) => series.map((points) => points.map(([place, score]) => [place, distance(score, sides.get(place))]));

function distance(score, [low, high]) {
  const [middle, half] = [(low + high) / 2, (high - low) / 2];
  if (half > 0) return clamp((score - middle) / half, -MOST, MOST);
  return Math.sign(score - middle) * MOST; // all earlier images had the same score
}

export function reachOf(series) {
  let reach = LEAST;
  for (const points of series) for (const [, value] of points) reach = Math.max(reach, Math.abs(value));
  return [-reach, reach];
}
