// All scores of the batch on one axis, with the rule's line; the images to decide on as numbered dots.

import { html, svg } from "../shared/dom.js";
import { extent, isNumber, linear, short } from "../shared/scales.js";

const [HEIGHT, SIDE, MIDDLE] = [58, 40, 26];
const RADIUS = 11;

// width: of the view, in pixels.
export function strip(question, state, width, label, onPick) {
  const [low, high] = extent([...question.scores, question.line]);
  const across = linear(high > low ? [low, high] : [low - 1, high + 1], [SIDE, width - SIDE]);
  const asked = new Set(question.images.map((image) => image.index));
  const others = question.scores.flatMap((score, i) =>
    isNumber(score) && !asked.has(i) ? [svg("circle", { class: "uq-other", cx: across.of(score), cy: MIDDLE, r: 4 })] : [],
  );
  const axis = svg("path", { class: "uq-axis", d: `M${SIDE - 20} ${MIDDLE}H${width - SIDE + 20}` });
  const ends = [
    svg("text", { x: SIDE - 20, y: HEIGHT - 4 }, short(low)),
    svg("text", { x: width - SIDE + 20, y: HEIGHT - 4, "text-anchor": "end" }, short(high)),
  ];
  const dots = question.images.map((image, at) => dot(across.of(image.score), at, state, onPick));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" }, axis, ...others, ...mark(question.line, across), ...ends, ...dots);
  return html("div", { class: "uq-strip", title: label }, picture);
}

function dot(x, at, state, onPick) {
  const kind = `${state.accepted[at] ? "uq-kept" : "uq-dropped"}${state.at === at ? " uq-on" : ""}`;
  const circle = svg("circle", { cx: x, cy: MIDDLE, r: RADIUS });
  return svg("g", { class: kind, click: () => onPick(at) }, circle, svg("text", { x, y: MIDDLE + 4, "text-anchor": "middle" }, `${at + 1}`));
}

const mark = (line, across) => {
  if (!isNumber(line)) return [];
  const x = across.of(line);
  return [svg("path", { class: "uq-mark", d: `M${x} 4V${HEIGHT - 12}` }), svg("text", { x, y: HEIGHT - 1, "text-anchor": "middle" }, short(line))];
};
