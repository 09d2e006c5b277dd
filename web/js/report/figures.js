// The two charts of a report: score per step of each image, and how the scores are spread.

import { BOX, acrossRange, axes, bars, chart, curve, ends, heights, threshold, upRange } from "../shared/charts.js";
import { isNumber, linear, nearestCurve, scoreScale, short } from "../shared/scales.js";
import { speaker } from "../shared/settings.js";
import { texts } from "./words.js";

const MAX_CURVES = 64;
const REACH = 12; // how far from a curve the pointer may be, in the chart's units
const say = speaker(texts);

export const isKept = (report, image) => !report.accepted || report.accepted.includes(image);
export const side = (report, image) => (isKept(report, image) ? "uq-kept" : "uq-dropped");
export const named = (value) => (isNumber(value) ? short(value) : say("notANumber"));
export const hasCurve = (report) => report.sigmas?.length > 1 && report.curve.flat().some(isNumber);

// light(image or -1): the pointer is near the curve of an image.
export function curves(report, light) {
  const up = scoreScale(report.curve.flat(), upRange(BOX));
  const last = report.sigmas.length - 1;
  const across = linear([0, last], acrossRange(BOX));
  const paths = report.curve.slice(0, MAX_CURVES).map((scores) =>
    scores.map((score, step) => [score, step]).filter(([score]) => isNumber(score)).map(([score, step]) => [across.of(step), up.of(score)]),
  );
  const lines = paths.map((points, image) => {
    const hint = say("curve", { image, score: named(report.scores[image]) });
    return curve(points, { class: side(report, image), "data-image": image }, hint);
  });
  const [first, end] = [short(report.sigmas[0]), short(report.sigmas[last])];
  const marks = [...heights(BOX, up), axes(BOX), ...lines, ...ends(BOX, say("noise", { value: first }), end)];
  const figure = chart(BOX, say("curves"), say("curvesLabel", { first, last: end }), ...marks);
  const picture = figure.querySelector("svg");
  picture.addEventListener("pointermove", (event) => {
    const frame = picture.getBoundingClientRect();
    const scale = BOX.width / frame.width;
    light(nearestCurve(paths, (event.clientX - frame.x) * scale, (event.clientY - frame.y) * scale, REACH).index);
  });
  picture.addEventListener("pointerleave", () => light(-1));
  return figure;
}

export function spread(report) {
  const { edges } = report.histogram;
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const across = linear([low, high], acrossRange(BOX));
  const up = linear([0, Math.max(1, ...report.histogram.kept.map((count, i) => count + report.histogram.dropped[i]))], upRange(BOX));
  const hint = (count, from, to) => say("bar", { count, low: short(from), high: short(to) });
  const line = isNumber(report.line) && report.line >= low && report.line <= high;
  const marks = [
    ...heights(BOX, { ...up, domain: [up.domain[1], up.domain[1]] }),
    axes(BOX),
    ...bars(BOX, report.histogram, hint),
    ...(line ? threshold(BOX, across.of(report.line), short(report.line)) : []),
    ...ends(BOX, short(low), short(high)),
  ];
  const caption = say("spread", { end: say(report.direction === "high_is_bad" ? "high" : "low") });
  return chart(BOX, caption, say("spreadLabel", { low: short(low), high: short(high) }), ...marks);
}
