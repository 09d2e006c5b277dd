// Draws the result of Uncertainty Report and Sample Filter inside the node: score per step, spread of the scores, the filter's line.
// Everything comes from what the node sends when it has run, so a result that comes from the cache looks the same.

import { app } from "../../../scripts/app.js";

const ROOM = { UQ_Report: [560, 240], UQ_SampleFilter: [420, 290] }; // width of the node, height of what is drawn in it
const WIDGET = "uncertainty_report"; // not the name of an input: links would end at it
const BOX = { width: 270, height: 130, left: 44, right: 8, top: 18, bottom: 20 };
const MAX_CURVES = 64;

const STYLE = `
.uq-report { box-sizing: border-box; height: 100%; overflow: auto; padding: 4px 8px; font: 12px/1.4 sans-serif; color: var(--fg-color, #ddd);
  --uq-kept: #3a9bd9; --uq-dropped: #e08a00; --uq-soft: var(--descrip-text, #999); --uq-line: var(--border-color, #555); }
.uq-report p { margin: 0 0 4px; }
.uq-report .uq-charts { display: flex; flex-wrap: wrap; gap: 4px 12px; }
.uq-report figure { margin: 0; flex: 1 1 180px; min-width: 0; }
.uq-report figcaption, .uq-report .uq-legend { color: var(--uq-soft); }
.uq-report svg { display: block; width: 100%; height: auto; }
.uq-report svg text { fill: var(--uq-soft); font: 11px sans-serif; }
.uq-report .uq-axis { stroke: var(--uq-line); fill: none; }
.uq-report .uq-mark { stroke: currentColor; stroke-width: 2; }
.uq-report .uq-kept { fill: var(--uq-kept); stroke: var(--uq-kept); }
.uq-report .uq-dropped { fill: var(--uq-dropped); stroke: var(--uq-dropped); }
.uq-report polyline { stroke-width: 1.5; stroke-linejoin: round; }
.uq-report polyline.uq-kept, .uq-report polyline.uq-dropped { fill: none; }
.uq-report polyline:hover { stroke-width: 4; }
.uq-report .uq-swatch { display: inline-block; width: 10px; height: 10px; margin: 0 4px 0 0; }
.uq-report .uq-swatch.uq-kept { background: var(--uq-kept); }
.uq-report .uq-swatch.uq-dropped { background: var(--uq-dropped); margin-left: 12px; }
.uq-report summary { cursor: pointer; }
.uq-report summary:focus-visible { outline: 2px solid var(--p-primary-color, #3a9bd9); }
[data-node-id]:has(.uq-report) .image-preview { display: none; }
.uq-report table { border-collapse: collapse; width: 100%; }
.uq-report td, .uq-report th { text-align: right; padding: 1px 6px; border-bottom: 1px solid var(--uq-line); font-weight: normal; }
`;

const short = (value) => (value === null ? "not a number" : Number(value.toPrecision(3)).toString());
const side = (report, image) => (!report.accepted || report.accepted.includes(image) ? "uq-kept" : "uq-dropped");
const badEnd = (report) => (report.direction === "high_is_bad" ? "high = unsure" : "low = unsure");

function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function chart(label, ...marks) {
  const { width, height, left, right, top, bottom } = BOX;
  const axes = svg("path", { class: "uq-axis", d: `M${left} ${top}V${height - bottom}H${width - right}` });
  return html(
    "figure",
    {},
    html("figcaption", {}, label),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, axes, ...marks),
  );
}

const across = (fraction) => BOX.left + fraction * (BOX.width - BOX.left - BOX.right);
const up = (fraction) => BOX.height - BOX.bottom - fraction * (BOX.height - BOX.top - BOX.bottom);
const under = (fraction, anchor, words) => svg("text", { x: across(fraction), y: BOX.height - 6, "text-anchor": anchor }, words);
const beside = (fraction, words) => svg("text", { x: BOX.left - 4, y: up(fraction) + 4, "text-anchor": "end" }, words);

function curves(report) {
  const values = report.curve.flat().filter((value) => value !== null);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const log = least > 0 && most > 20 * least;
  const scaled = log ? Math.log : (value) => value;
  const low = scaled(log ? least : Math.min(0, least));
  const span = scaled(most) - low || 1;
  const last = report.sigmas.length - 1;
  const lines = report.curve.slice(0, MAX_CURVES).map((scores, image) => {
    const known = scores.map((score, step) => [step, score]).filter(([, score]) => score !== null);
    const points = known.map(([step, score]) => `${across(step / last)},${up((scaled(score) - low) / span)}`).join(" ");
    const hint = svg("title", {}, `image ${image}: ${short(report.scores[image])}`);
    return svg("polyline", { class: side(report, image), points }, hint);
  });
  const labels = [beside(1, short(most)), beside(0, short(log ? least : Math.min(0, least)))];
  const ends = [under(0, "start", `noise ${short(report.sigmas[0])}`), under(1, "end", short(report.sigmas[last]))];
  return chart("score at each measured step", ...lines, ...labels, ...ends);
}

function spread(report) {
  const { edges, kept, dropped } = report.histogram;
  const most = Math.max(...kept.map((count, i) => count + dropped[i]));
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const bar = (i, from, count, name) => {
    const [x, end] = [across(i / kept.length) + 0.5, across((i + 1) / kept.length) - 0.5];
    const box = { x, width: end - x, y: up((from + count) / most), height: up(from / most) - up((from + count) / most) };
    const hint = svg("title", {}, `${count} from ${short(edges[i])} to ${short(edges[i + 1])}`);
    return svg("rect", { ...box, class: name, "stroke-width": 0 }, hint);
  };
  const bars = kept.flatMap((count, i) => [bar(i, 0, count, "uq-kept"), bar(i, count, dropped[i], "uq-dropped")]);
  const marks = [];
  if (report.line !== null && report.line >= low && report.line <= high) {
    const x = across((report.line - low) / (high - low));
    marks.push(svg("path", { class: "uq-mark", d: `M${x} ${BOX.top - 4}V${BOX.height - BOX.bottom}` }));
    marks.push(svg("text", { x, y: BOX.top - 7, "text-anchor": "middle" }, short(report.line)));
  }
  const labels = [beside(1, `${most}`), under(0, "start", short(low)), under(1, "end", short(high))];
  return chart(`images by score (${badEnd(report)})`, ...bars, ...marks, ...labels);
}

function legend(report) {
  const swatch = (name) => html("span", { class: `uq-swatch ${name}` });
  const rejected = report.scores.length - report.accepted.length;
  const words = [swatch("uq-kept"), `accepted: ${report.accepted.length}`, swatch("uq-dropped"), `rejected: ${rejected}`];
  return html("p", { class: "uq-legend" }, ...words);
}

function scores(report) {
  const cells = (tag, words) => html("tr", {}, ...words.map((word) => html(tag, {}, `${word}`)));
  const verdict = (image) => (!report.accepted ? "" : report.accepted.includes(image) ? "accepted" : "rejected");
  const rows = report.scores.map((score, image) => cells("td", [image, short(score), report.ranks[image], verdict(image)]));
  return html("details", {}, html("summary", {}, "scores"), html("table", {}, cells("th", ["image", "score", "rank", ""]), ...rows));
}

function section(report) {
  const charts = [];
  if (report.sigmas?.length > 1 && report.curve.flat().some((value) => value !== null)) charts.push(curves(report));
  if (report.histogram.edges.length) charts.push(spread(report));
  const failed = report.failed ? [html("p", {}, report.failed)] : [];
  const parts = [html("p", {}, report.title), ...failed, html("div", { class: "uq-charts" }, ...charts)];
  if (report.accepted) parts.push(legend(report));
  return [...parts, scores(report)];
}

function widgetOf(node) {
  const known = node.widgets?.find((widget) => widget.name === WIDGET);
  if (known) return known;
  const element = html("div", { class: "uq-report", role: "group", "aria-label": "uncertainty" });
  const [least, room] = ROOM[node.comfyClass];
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => room };
  const widget = node.addDOMWidget(WIDGET, "uncertainty_report", element, options);
  widget.serialize = false; // saved workflows keep the positions of the other widgets' values
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width, least), Math.max(node.size[1], height)]);
  return widget;
}

// The same chart comes as a picture too, for App Mode and other programs; here it would be shown twice. The canvas is kept from it by
// onDrawBackground below; Vue nodes read hideOutputImages, and before they knew it the rule for .image-preview above hides it.
function withoutPicture(node, output) {
  if (output.images) node.hideOutputImages = true;
}

// What the front-end remembers of the last run when it opens a workflow once more. It starts to load the picture as soon as it draws the
// node's background, and that may end after the next run: so our nodes have a background that shows the chart instead, from the first on.
function showRemembered(node) {
  if (node.flags.collapsed || node.widgets?.some((widget) => widget.name === WIDGET)) return;
  const inside = node.graph && node.graph.isRootGraph === false;
  const output = app.nodeOutputs?.[inside ? `${node.graph.id}:${node.id}` : node.id];
  if (output?.uq_report) queueMicrotask(() => show(node, output)); // not while the canvas goes through the widgets
}

function show(node, output) {
  if (!output?.uq_report) return;
  const { element } = widgetOf(node);
  element.replaceChildren(html("style", {}, STYLE), ...output.uq_report.flatMap(section));
  withoutPicture(node, output);
  node.setDirtyCanvas?.(true, true);
}

app.registerExtension({
  name: "UncertaintyNodes.Report",
  nodeCreated(node) {
    if (!(node.comfyClass in ROOM)) return;
    const { onExecuted } = node;
    node.onDrawBackground = () => showRemembered(node);
    node.onExecuted = function (output, ...rest) {
      onExecuted?.call(this, output, ...rest);
      show(this, output);
    };
  },
});
