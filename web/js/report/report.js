// Draws the result of Uncertainty Report inside the node: score per step, spread of the scores, the filter's line.
// Everything comes from what the node sends when it has run, so a result that comes from the cache looks the same.

import { app } from "../../../../scripts/app.js";
import { BOX, acrossRange, axes, bars, chart, curve, ends, heights, threshold, upRange } from "../shared/charts.js";
import { html } from "../shared/dom.js";
import { isNumber, linear, scoreScale, short } from "../shared/scales.js";
import { speaker } from "../shared/settings.js";
import { addPanel } from "../shared/widget.js";
import { texts } from "./words.js";

const ROOM = { UQ_Report: [560, 240] }; // width of the node, height of what is drawn in it
const MAX_CURVES = 64;
const say = speaker(texts);

const isKept = (report, image) => !report.accepted || report.accepted.includes(image);
const side = (report, image) => (isKept(report, image) ? "uq-kept" : "uq-dropped");
const named = (value) => (isNumber(value) ? short(value) : say("notANumber"));

function curves(report) {
  const up = scoreScale(report.curve.flat(), upRange(BOX));
  const last = report.sigmas.length - 1;
  const across = linear([0, last], acrossRange(BOX));
  const lines = report.curve.slice(0, MAX_CURVES).map((scores, image) => {
    const points = scores.map((score, step) => [score, step]).filter(([score]) => isNumber(score));
    const hint = say("curve", { image, score: named(report.scores[image]) });
    return curve(points.map(([score, step]) => [across.of(step), up.of(score)]), { class: side(report, image), "data-image": image }, hint);
  });
  const [first, end] = [short(report.sigmas[0]), short(report.sigmas[last])];
  const marks = [...heights(BOX, up), axes(BOX), ...lines, ...ends(BOX, say("noise", { value: first }), end)];
  return chart(BOX, say("curves"), say("curvesLabel", { first, last: end }), ...marks);
}

function spread(report) {
  const { edges } = report.histogram;
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const across = linear([low, high], acrossRange(BOX));
  const hint = (count, from, to) => say("bar", { count, low: short(from), high: short(to) });
  const line = isNumber(report.line) && report.line >= low && report.line <= high;
  const marks = [
    axes(BOX),
    ...bars(BOX, report.histogram, hint),
    ...(line ? threshold(BOX, across.of(report.line), short(report.line)) : []),
    ...ends(BOX, short(low), short(high)),
  ];
  const caption = say("spread", { end: say(report.direction === "high_is_bad" ? "high" : "low") });
  return chart(BOX, caption, say("spreadLabel", { low: short(low), high: short(high) }), ...marks);
}

function legend(report) {
  const swatch = (name) => html("span", { class: `uq-swatch ${name}` });
  const rejected = report.scores.length - report.accepted.length;
  const kept = html("span", {}, swatch("uq-kept"), say("accepted", { count: report.accepted.length }));
  return html("p", { class: "uq-row uq-soft" }, kept, html("span", {}, swatch("uq-dropped"), say("rejected", { count: rejected })));
}

function scores(report) {
  const cells = (tag, words) => html("tr", {}, ...words.map((word) => html(tag, {}, `${word}`)));
  const verdict = (image) => (!report.accepted ? "" : say(isKept(report, image) ? "isAccepted" : "isRejected"));
  const rows = report.scores.map((score, image) => cells("td", [image, named(score), report.ranks[image], verdict(image)]));
  const head = cells("th", [say("image"), say("score"), say("rank"), ""]);
  return html("details", {}, html("summary", {}, say("scores")), html("table", {}, head, ...rows));
}

function section(report) {
  const charts = [];
  if (report.sigmas?.length > 1 && report.curve.flat().some(isNumber)) charts.push(curves(report));
  if (report.histogram.edges.length) charts.push(spread(report));
  const failed = report.failed ? [html("p", {}, report.failed)] : [];
  const parts = [html("p", {}, report.title), ...failed, html("div", { class: "uq-charts" }, ...charts)];
  if (report.accepted) parts.push(legend(report));
  return [...parts, scores(report)];
}

function draw(panel, output) {
  if (!output?.uq_report) return;
  panel.element.replaceChildren(...output.uq_report.flatMap(section));
  panel.filled = true;
  panel.resize();
}

app.registerExtension({
  name: "UncertaintyNodes.Report",
  nodeCreated(node) {
    if (!(node.comfyClass in ROOM)) return;
    const [width, room] = ROOM[node.comfyClass];
    const height = () => (panel.filled ? room : 0);
    const panel = addPanel(node, { name: "uncertainty_report", label: say("panel"), height, width, draw, hidesPicture: true });
  },
});
