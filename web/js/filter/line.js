// From where the line is dragged to the value of the rule, and the bars on either side of it. No page needed.

import { extent, histogram, isNumber } from "../shared/scales.js";
import { keptCount, percentAt } from "./decide.js";

const MOST_BINS = 24; // as in core/view/summary.py
const MARGIN = 0.06; // of the axis on each side, so that the line can be put beyond all images
const STEPS = 500; // that a threshold has from one end of the axis to the other

export function domain({ axis }, line = null) {
  const [low, high] = extent(axis);
  const slack = high > low ? (high - low) * MARGIN : Math.abs(low) / 2 || 0.5;
  const far = isNumber(line) && (line < low - 3 * (high - low) || line > high + 3 * (high - low)); // else the images would be a dot
  const ends = isNumber(line) && !far ? [Math.min(low, line), Math.max(high, line)] : [low, high];
  return [ends[0] - slack, ends[1] + slack];
}

// The value that puts the line at `position` on the axis of a decision; null where a rule has none.
export function valueAt(batch, decision, rule, position) {
  const { axis, highIsBad } = decision;
  const good = axis.filter((score) => isNumber(score) && (highIsBad ? score <= position : score >= position)).length;
  if (rule === "keep_best_count") return good;
  if (rule === "drop_worst_percent") return percentFor(axis.length - good, axis.length);
  if (rule === "calibrated") return round(percentAt(batch, position), 1);
  if (rule === "threshold") return round(position, digits(domain(decision)));
  return null;
}

// The next value when the line is moved by a key: to the next image where images are counted, else a little along the axis.
export function stepped(batch, decision, rule, value, steps) {
  const size = decision.axis.length;
  const toBad = decision.highIsBad ? steps : -steps;
  if (rule === "keep_best_count" || rule === "drop_worst_percent") {
    const kept = Math.max(0, Math.min(size, keptCount(rule, value, size) + toBad));
    return rule === "keep_best_count" ? kept : percentFor(size - kept, size);
  }
  if (rule === "calibrated") return Math.max(0, Math.min(100, round(value + toBad, 1)));
  const [low, high] = domain(decision);
  return round(value + (steps * (high - low)) / 100, digits([low, high]));
}

// The roundest percentage that rejects just so many images.
export function percentFor(dropped, size) {
  for (let places = 0; places < 6; places += 1) {
    const factor = 10 ** places;
    const percent = Math.max(0, Math.min(100, Math.ceil(((100 * dropped) / size) * factor - 1e-6) / factor));
    if (size - keptCount("drop_worst_percent", percent, size) === dropped) return percent;
  }
  return (100 * dropped) / size;
}

// edges (K + 1), and in each bin how many pass and how many don't.
export function sides({ axis, passes }) {
  const finite = axis.filter(isNumber);
  if (!finite.length) return { edges: [], kept: [], dropped: [] };
  const [low, high] = extent(finite);
  const slack = high > low ? 0 : Math.abs(low) / 2 || 0.5;
  const ends = [low - slack, high + slack];
  const bins = Math.min(MOST_BINS, Math.max(5, Math.ceil(2 * Math.sqrt(finite.length))));
  const kept = histogram(axis.filter((_, i) => passes[i]), bins, ends);
  const dropped = histogram(axis.filter((_, i) => !passes[i]), bins, ends);
  return { edges: kept.edges, kept: kept.counts, dropped: dropped.counts };
}

const digits = ([low, high]) => Math.max(0, Math.min(4, Math.ceil(-Math.log10((high - low) / STEPS))));
const round = (value, places) => Number(value.toFixed(places));
