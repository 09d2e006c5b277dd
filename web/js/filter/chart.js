// The histogram of the last scores with the line in it, which is dragged or moved by keys.

import { axes, bars, chart, ends } from "../shared/charts.js";
import { svg } from "../shared/dom.js";
import { clamp, isNumber, linear, short } from "../shared/scales.js";
import { sides } from "./line.js";

export const BOX = { width: 420, height: 150, left: 30, right: 14, top: 24, bottom: 30 };
const RUG = 6; // height of the mark of each image below the axis
const FAST = 5; // steps of a key with shift

// drag: { start(event), by(steps) }, or null where the line stands still. words: what is written and read out.
export function lineChart(decision, range, words, drag) {
  const across = linear(range, [BOX.left, BOX.width - BOX.right]);
  const base = BOX.height - BOX.bottom;
  const marks = [...columns(decision, across, words.bar), axes(BOX), ...rug(decision, across, base), ...ends(BOX, short(range[0]), short(range[1]))];
  const handle = isNumber(decision.line) ? lineMark(clamp(across.of(decision.line), BOX.left, BOX.width - BOX.right), base, words) : null;
  const figure = chart(BOX, words.caption, words.label, ...marks, handle);
  if (handle && drag) makeSlider(figure.querySelector("svg"), handle, words, drag);
  return figure;
}

function columns(decision, across, hint) {
  const found = sides(decision);
  if (!found.edges.length) return [];
  const [low, high] = [found.edges[0], found.edges[found.edges.length - 1]];
  return bars({ ...BOX, left: across.of(low), right: BOX.width - across.of(high) }, found, hint);
}

const rug = ({ axis, passes }, across, base) =>
  axis.flatMap((score, image) => {
    if (!isNumber(score)) return [];
    const x = across.of(score);
    return [svg("path", { class: `uq-rug ${passes[image] ? "uq-kept" : "uq-dropped"}`, d: `M${x} ${base + 2}v${RUG}`, "data-image": image })];
  });

function lineMark(x, base, { value }) {
  const knob = svg("rect", { class: "uq-knob", x: -5, y: (BOX.top + base) / 2 - 14, width: 10, height: 28, rx: 5 });
  const grip = svg("path", { class: "uq-grip", d: `M-1.5 ${(BOX.top + base) / 2 - 6}v12M1.5 ${(BOX.top + base) / 2 - 6}v12` });
  const line = svg("path", { class: "uq-mark", d: `M0 ${BOX.top - 6}V${base + RUG + 2}` });
  const anchor = x < 60 ? "start" : x > BOX.width - 60 ? "end" : "middle";
  const words = svg("text", { x: 0, y: BOX.top - 10, "text-anchor": anchor, class: "uq-line-value" }, value);
  return svg("g", { transform: `translate(${x})`, class: "uq-line" }, line, knob, grip, words);
}

function makeSlider(picture, handle, words, drag) {
  const attributes = { role: "slider", tabindex: 0, "aria-label": words.line, "aria-valuetext": words.spoken, "data-drag": "line" };
  for (const [name, value] of Object.entries({ ...attributes, "aria-valuenow": words.now })) handle.setAttribute(name, value);
  picture.classList.add("uq-drags");
  picture.setAttribute("data-drag", "line");
  picture.removeAttribute("role"); // of an image, whose parts no screen reader would reach
  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    drag.start(event);
  });
  handle.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!steps) return;
    event.preventDefault();
    event.stopPropagation(); // the canvas moves nodes by arrow keys
    drag.by(steps * (event.shiftKey ? FAST : 1));
  });
}

// Where on the axis the pointer is. The chart is measured on the screen, since the canvas may be zoomed.
export function positionOf(event, element, range) {
  const box = element.querySelector(".uq-drags").getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * BOX.width;
  return linear(range, [BOX.left, BOX.width - BOX.right]).at(clamp(x, BOX.left, BOX.width - BOX.right));
}
