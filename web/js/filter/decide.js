// Sample Filter's rules, as core/selection/filtering.py decides them; a test holds the two together. No page needed.
// batch: { scores, direction, extra, history }, as the node sends them; what is no finite number is null.

import { isNumber } from "../shared/scales.js";

// passes (B): whether each image is accepted. order: indexes, best first. axis (B): what the images are compared by, null where one failed.
// highIsBad: which end of the axis is bad. line: where accepted and rejected part on the axis. joined: whether an extra score has a say.
// null for a rule that only the server can apply.
export function decide(batch, { rule, value, weight = 0 }) {
  const joined = Boolean(batch.extra) && weight > 0;
  const highIsBad = joined || batch.direction === "high_is_bad";
  const axis = joined ? joinRanks(batch, weight) : batch.scores;
  const badness = axis.map((score) => (isNumber(score) ? (highIsBad ? score : -score) : Infinity));
  const order = axis.map((_, i) => i).sort((a, b) => compare(badness[a], badness[b]) || a - b);
  const found = { order, axis, highIsBad, joined };
  if (rule === "drop_worst_percent" || rule === "keep_best_count") {
    const count = keptCount(rule, value, axis.length);
    const kept = new Set(order.slice(0, count).filter((i) => isNumber(axis[i])));
    return { ...found, passes: axis.map((_, i) => kept.has(i)), line: between(axis, kept, highIsBad) };
  }
  const line = threshold(batch, rule, value);
  if (line === null || joined) return null;
  const limit = Math.fround(line); // scores are float32: one passes at its own value
  return { ...found, line, passes: axis.map((score) => isNumber(score) && (highIsBad ? score <= limit : score >= limit)) };
}

export const keptCount = (rule, value, size) =>
  rule === "keep_best_count" ? Math.min(value, size) : size - Math.trunc((size * value) / 100 + 1e-9);

function threshold(batch, rule, value) {
  if (rule === "threshold") return value;
  return rule === "calibrated" && batch.history?.length ? scoreAt(batch, value) : null;
}

// The score that `percent` % of the earlier scores, best first, are at least as good as: linear between neighbours, as numpy's percentile.
export function scoreAt({ history, direction }, percent) {
  const share = (direction === "high_is_bad" ? percent : 100 - percent) / 100;
  const position = (history.length - 1) * share;
  const below = Math.min(Math.floor(position), history.length - 1);
  const [a, b] = [history[below], history[Math.min(below + 1, history.length - 1)]];
  const along = position - below;
  return along < 0.5 ? a + (b - a) * along : b - (b - a) * (1 - along);
}

// The other way round: the percent at which the line lies at `score`.
export function percentAt({ history, direction }, score) {
  const last = history.length - 1;
  let low = history.findIndex((each) => each >= score);
  if (low === 0 || (last === 0 && low < 0)) low = 0;
  else if (low < 0) low = last;
  else low += (score - history[low]) / (history[low] - history[low - 1]);
  const percent = last ? (100 * low) / last : 50;
  return direction === "high_is_bad" ? percent : 100 - percent;
}

// Both scores as ranks from 0 (best) to 1 (worst), averaged by weight; null where one of them is no number.
export function joinRanks({ scores, extra, direction }, weight) {
  const usable = scores.map((score, i) => isNumber(score) && isNumber(extra[i]));
  const pick = (values) => values.filter((_, i) => usable[i]);
  const first = unitRanks(pick(scores.map((score) => (direction === "high_is_bad" ? score : -score))));
  const second = unitRanks(pick(extra.map((score) => -score)));
  let at = -1;
  return usable.map((fits) => {
    if (!fits) return null;
    at += 1;
    return (first[at] * (1 - weight) + second[at] * weight) / (1 - weight + weight);
  });
}

function unitRanks(values) {
  if (values.length === 1) return [0.5];
  const sorted = [...values].sort(compare);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2 / (values.length - 1));
}

// Half way between the worst accepted and the best rejected; where a side is empty, beyond the last of the other.
function between(axis, kept, highIsBad) {
  const side = (wanted) => axis.filter((score, i) => isNumber(score) && kept.has(i) === wanted);
  const [good, bad] = [side(true), side(false)];
  const [worst, best] = highIsBad ? [Math.max(...good), Math.min(...bad)] : [Math.min(...good), Math.max(...bad)];
  if (good.length && bad.length) return (worst + best) / 2;
  if (!good.length && !bad.length) return null;
  return (good.length ? worst : best) + (highIsBad === good.length > 0 ? 1 : -1) * Number.EPSILON;
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
