// Draws one run, and goes on drawing it as it grows: lines stay the same elements, and no frame makes many, so that each costs little.

import { acrossRange, axes, band as bandMark, ends, heights, levels, redraw, upRange } from "../shared/charts.js";
import { svg } from "../shared/dom.js";
import { linear, nearestCurve, scoreScale, short } from "../shared/scales.js";
import { compared, placesShown, reachOf, SIDES, usualSides } from "./compare.js";
import { bandOf, seriesOf, thinned, worseThanBand } from "./runs.js";

const BOX = { height: 120, left: 50, right: 8, top: 8, bottom: 18 };
const WIDTH = 280; // until the page has laid the chart out
const HALF = 0.3; // of a step: how far a band of one step reaches to each side
const REACH = 14; // how far from a curve the pointer may be
export const MOST_NEW = 12; // lines that one frame makes

// words(run, [first, last place of the axis]): { left, right, label, levels: of the axis of comparison }. light(image or -1, point): the pointer, or a key, chose a curve.
export function makeCurve(words, light) {
  const [back, front] = [svg("g"), svg("g")];
  const element = svg("svg", { role: "img", tabindex: "0", class: "uq-curve", "data-drag": "" }, back, front);
  const box = { ...BOX, width: WIDTH };
  const curve = { element, back, front, box, marks: [], series: [], points: [], run: undefined, band: [], scene: "", words, light, lit: -1, compares: true };
  new ResizeObserver(() => fit(curve)).observe(element);
  element.addEventListener("pointermove", (event) => lightNearest(curve, event));
  element.addEventListener("pointerleave", () => setLit(curve, -1));
  element.addEventListener("keydown", (event) => walk(curve, event));
  return curve;
}

// One unit is one pixel, so that words have the size that words have.
function fit(curve) {
  const width = Math.round(curve.element.clientWidth);
  if (!width || width === curve.box.width) return;
  curve.box = { ...BOX, width };
  if (curve.whole) drawCurve(curve, curve.whole, curve.earlier);
}

// Gives { band, worse: of each image, canCompare: with what was usual, isWhole: false where lines are to come }.
export function drawCurve(curve, whole, earlier) {
  const run = thinned(whole);
  if (run.usual || curve.earlier !== earlier || curve.run?.run !== run.run) curve.band = bandOf(earlier, run); // of earlier runs the same all through a run
  Object.assign(curve, { run, whole, earlier });
  const { band, box } = curve;
  const series = seriesOf(run);
  const sides = usualSides(run, band);
  const compares = curve.compares && sides !== null;
  curve.series = compares ? series.map((points) => points.filter(([place]) => sides.has(place))) : series;
  const shown = compares ? compared(curve.series, sides) : series;
  const up = compares ? linear(reachOf(shown), upRange(box)) : rawScale(shown, band, run.limit, upRange(box));
  const places = compares ? placesShown(run, sides) : (run.span ?? [0, run.of - 1]);
  const across = linear(places, acrossRange(box));
  const words = curve.words(whole, places);
  const shownBand = compares ? bandWithin(band, places) : band;
  drawScene(curve, { words, places, across, up, band: shownBand, compares });
  curve.points = shown.map((points) => points.map(([place, score]) => [across.of(place), up.of(score)]));
  const worse = worseThanBand(run, band);
  const isWhole = drawLines(curve, worse, run.axis === "attempt");
  change(curve.element, "aria-label", words.label);
  if (curve.lit >= series.length) setLit(curve, -1);
  return { band, worse, canCompare: sides !== null, isWhole };
}

const bandWithin = (band, [from, to]) => band.filter(([place]) => place >= from && place <= to).map(([place]) => [place, ...SIDES]);

const isLimit = (limit) => limit !== null && limit !== undefined;

function rawScale(series, band, limit, range) {
  const values = [...series.flatMap((points) => points.map(([, score]) => score)), ...band.flatMap(([, ...sides]) => sides)];
  return scoreScale(isLimit(limit) ? [...values, limit] : values, range);
}

// What stays the same from step to step: axes, words, band, limit.
function drawScene(curve, { words, places, across, up, band, compares }) {
  const { box, run } = curve;
  const scene = JSON.stringify([box.width, up.domain, up.log, band, places, run.limit, words.left, words.right, compares]);
  if (scene === curve.scene) return;
  curve.scene = scene;
  curve.element.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  const wide = band.length === 1 ? [-1, 1].map((side) => [band[0][0] + side * HALF, ...band[0].slice(1)]) : band;
  const sides = [1, 2].map((side) => wide.map((each) => [across.of(each[0]), up.of(each[side])]));
  curve.back.replaceChildren(
    ...(compares ? levels(box, up, [up.domain[0], 0, up.domain[1]].map((value, i) => [value, words.levels[i]])) : heights(box, up, 2)),
    ...(band.length ? [bandMark(...sides)] : []),
    ...(isLimit(run.limit) ? [limitMark(box, up.of(run.limit))] : []),
    axes(box),
    ...ends(box, words.left, words.right),
  );
}

const limitMark = (box, y) => svg("path", { class: "uq-mark uq-limit", d: `M${box.left} ${y}H${box.width - box.right}` });

// Whether all lines are there.
function drawLines(curve, worse, isDotted) {
  const { marks, points, front } = curve;
  while (marks.length > points.length) for (const mark of marks.pop()) mark.remove();
  const count = Math.min(points.length, marks.length + MOST_NEW);
  while (marks.length < count) {
    marks.push([svg("polyline"), svg("path")]);
    front.append(...marks.at(-1));
  }
  marks.forEach(([line, dots], image) => {
    const side = `${worse[image] ? "uq-dropped" : "uq-kept"}${image === curve.lit ? " uq-on" : ""}`;
    redraw(line, isDotted ? [] : points[image]);
    change(dots, "d", (isDotted ? points[image] : points[image].slice(-1)).map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(""));
    change(line, "class", side);
    change(dots, "class", `uq-dots ${side}`);
  });
  return count === points.length;
}

// An attribute that is set anew costs the page a look at the element, also where it stays the same.
function change(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function lightNearest(curve, event) {
  const frame = curve.element.getBoundingClientRect();
  const [x, y] = [((event.clientX - frame.x) / frame.width) * curve.box.width, ((event.clientY - frame.y) / frame.height) * BOX.height];
  setLit(curve, nearestCurve(curve.points, x, y, REACH).index, x);
}

function walk(curve, event) {
  const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  const count = curve.points.length;
  if (event.key === "Escape") setLit(curve, -1);
  else if (event.key in moves && count) setLit(curve, (Math.max(curve.lit, moves[event.key] > 0 ? -1 : 0) + moves[event.key] + count) % count);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

// image: -1 for none. x: where on the chart, the last point when left out.
export function setLit(curve, image, x = Infinity) {
  curve.lit = image;
  curve.element.classList.toggle("uq-lit", image >= 0);
  curve.marks.forEach((each, i) => each.forEach((mark) => mark.classList.toggle("uq-on", i === image)));
  if (image < 0 || !curve.points[image]) return curve.light(-1);
  const series = curve.series[image];
  const nearest = curve.points[image].reduce((best, [px], i, all) => (Math.abs(px - x) < Math.abs(all[best][0] - x) ? i : best), 0);
  const index = x === Infinity ? series.length - 1 : nearest;
  const [place, score, at = image] = series[index] ?? [];
  return curve.light(image, { image: at, place, score: short(score), sigma: short(curve.run.steps.find(([at]) => at === place)?.[1]) });
}
