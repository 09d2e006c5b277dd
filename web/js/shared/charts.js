// Charts as SVG: axes, curves, bars, bands, a line across. What they show is told to screen readers by the chart's label.

import { html, svg } from "./dom.js";
import { linear, short, ticks } from "./scales.js";

export const BOX = { width: 260, height: 126, left: 50, right: 10, top: 16, bottom: 18 };

export const acrossRange = (box) => [box.left, box.width - box.right];
export const upRange = (box) => [box.height - box.bottom, box.top];

// A figure with its caption; `label` is what a screen reader says of it.
export function chart(box, caption, label, ...marks) {
  const picture = svg("svg", { viewBox: `0 0 ${box.width} ${box.height}`, role: "img", "aria-label": label }, ...marks);
  return html("figure", {}, caption ? html("figcaption", {}, caption) : null, picture);
}

export const axes = (box) =>
  svg("path", { class: "uq-axis", d: `M${box.left} ${box.top}V${box.height - box.bottom}H${box.width - box.right}` });

// Lines at round values with the values beside them; of a logarithmic scale its ends.
export function heights(box, scale, count = 3) {
  const [low, high] = scale.domain;
  return levels(box, scale, (scale.log ? [low, high] : ticks(low, high, count)).map((value) => [value, short(value)]));
}

// Lines with words beside them: [[value, words], ...].
export const levels = (box, scale, named) =>
  named.flatMap(([value, words]) => {
    const y = scale.of(value);
    const line = svg("path", { class: "uq-grid", d: `M${box.left} ${y}H${box.width - box.right}` });
    return [line, svg("text", { x: box.left - 4, y: y + 4, "text-anchor": "end" }, words)];
  });

export function ends(box, left, right) {
  const y = box.height - 5;
  return [
    svg("text", { x: box.left, y, "text-anchor": "start" }, left),
    svg("text", { x: box.width - box.right, y, "text-anchor": "end" }, right),
  ];
}

const tenth = (value) => Math.round(value * 10) / 10; // much faster than toFixed
const joined = (points) => points.map(([x, y]) => `${tenth(x)},${tenth(y)}`).join(" ");

// points: [[x, y], ...] in the chart's own units.
export const curve = (points, attributes = {}, hint = "") =>
  svg("polyline", { points: joined(points), ...attributes }, hint ? svg("title", {}, hint) : null);

export const redraw = (line, points) => line.setAttribute("points", joined(points));

// Between two curves, each as in `curve`.
export const band = (lower, upper, attributes = {}) =>
  svg("polygon", { class: "uq-band", points: joined([...upper, ...[...lower].reverse()]), ...attributes });

// Two kinds of bars, one on the other. edges (K + 1), kept (K), dropped (K).
export function bars(box, { edges, kept, dropped }, hint) {
  const most = Math.max(1, ...kept.map((count, i) => count + dropped[i]));
  const across = linear([0, kept.length], acrossRange(box));
  const up = linear([0, most], upRange(box));
  const bar = (i, from, count, name) => {
    const [x, end] = [across.of(i) + 0.5, across.of(i + 1) - 0.5];
    const sides = { x, width: Math.max(0.5, end - x), y: up.of(from + count), height: up.of(from) - up.of(from + count) };
    return svg("rect", { ...sides, class: name }, svg("title", {}, hint(count, edges[i], edges[i + 1])));
  };
  return kept.flatMap((count, i) => [
    ...(count ? [bar(i, 0, count, "uq-kept")] : []),
    ...(dropped[i] ? [bar(i, count, dropped[i], "uq-dropped")] : []),
  ]);
}

// An upright line at x with words above it.
export function threshold(box, x, words, attributes = {}) {
  const line = svg("path", { class: "uq-mark", d: `M${x} ${box.top - 4}V${box.height - box.bottom}`, ...attributes });
  return [line, svg("text", { x, y: box.top - 6, "text-anchor": "middle" }, words)];
}
