// Draws one run, and goes on drawing it as it grows: lines stay the same elements, so that many of them cost little.

import { acrossRange, axes, band as bandMark, ends, heights, redraw, upRange } from "../shared/charts.js";
import { svg } from "../shared/dom.js";
import { linear, nearestCurve, scoreScale, short } from "../shared/scales.js";
import { bandOf, seriesOf, worseThanBand } from "./runs.js";

const BOX = { height: 120, left: 50, right: 8, top: 8, bottom: 18 };
const WIDTH = 280; // until the page has laid the chart out
const HALF = 0.3; // of a step: how far a band of one step reaches to each side
const REACH = 14; // how far from a curve the pointer may be

// words(run): { left, right, label, hint(image, score) }. on.light(image or -1, point): the pointer, or a key, chose a curve.
export function makeCurve(words, light) {
  const [back, front] = [svg("g"), svg("g")];
  const element = svg("svg", { role: "img", tabindex: "0", class: "uq-curve", "data-drag": "" }, back, front);
  const box = { ...BOX, width: WIDTH };
  const curve = { element, back, front, box, lines: [], dots: [], points: [], run: undefined, band: [], scene: "", words, light, lit: -1 };
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
  if (curve.run) drawCurve(curve, curve.run, curve.earlier);
}

export function drawCurve(curve, run, earlier) {
  const { box } = curve;
  curve.element.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  const series = seriesOf(run);
  if (run.usual || curve.earlier !== earlier || curve.run?.run !== run.run) curve.band = bandOf(earlier, run); // of earlier runs the same all through a run
  const { band } = curve;
  const limits = run.limit === null || run.limit === undefined ? [] : [run.limit];
  const values = [...series.flatMap((points) => points.map(([, score]) => score)), ...band.flatMap(([, ...sides]) => sides), ...limits];
  const up = scoreScale(values, upRange(box));
  const across = linear(run.span ?? [0, run.of - 1], acrossRange(box));
  drawScene(curve, run, band, across, up);
  const worse = worseThanBand(run, band);
  curve.points = series.map((points) => points.map(([place, score]) => [across.of(place), up.of(score)]));
  Object.assign(curve, { run, earlier });
  drawLines(curve, worse, run.axis === "attempt");
  curve.element.setAttribute("aria-label", curve.words(run).label);
  if (curve.lit >= series.length) setLit(curve, -1);
  return { band, worse };
}

// What stays the same from step to step: axes, words, band, limit.
function drawScene(curve, run, band, across, up) {
  const { box } = curve;
  const words = curve.words(run);
  const scene = JSON.stringify([box.width, up.domain, up.log, band, run.span, run.limit, words.left, words.right]);
  if (scene === curve.scene) return;
  curve.scene = scene;
  const wide = band.length === 1 ? [-1, 1].map((side) => [band[0][0] + side * HALF, ...band[0].slice(1)]) : band;
  const sides = [1, 2].map((side) => wide.map((each) => [across.of(each[0]), up.of(each[side])]));
  const limit = run.limit === null || run.limit === undefined ? [] : [limitMark(box, up.of(run.limit))];
  curve.back.replaceChildren(
    ...heights(box, up, 2),
    ...(band.length ? [bandMark(...sides)] : []),
    ...limit,
    axes(box),
    ...ends(box, words.left, words.right),
  );
}

const limitMark = (box, y) => svg("path", { class: "uq-mark uq-limit", d: `M${box.left} ${y}H${box.width - box.right}` });

function drawLines(curve, worse, isDotted) {
  while (curve.lines.length > curve.points.length) {
    curve.lines.pop().remove();
    curve.dots.pop().remove();
  }
  curve.points.forEach((points, image) => {
    if (!curve.lines[image]) {
      curve.front.append((curve.lines[image] = svg("polyline")), (curve.dots[image] = svg("path", { class: "uq-dots" })));
    }
    const side = `${worse[image] ? "uq-dropped" : "uq-kept"}${image === curve.lit ? " uq-on" : ""}`;
    redraw(curve.lines[image], isDotted ? [] : points);
    curve.dots[image].setAttribute("d", (isDotted ? points : points.slice(-1)).map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(""));
    for (const mark of [curve.lines[image], curve.dots[image]]) mark.setAttribute("class", `${mark === curve.dots[image] ? "uq-dots " : ""}${side}`);
  });
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
  [...curve.lines, ...curve.dots].forEach((mark) => mark.classList.remove("uq-on"));
  if (image < 0 || !curve.points[image]) return curve.light(-1);
  curve.lines[image].classList.add("uq-on");
  curve.dots[image].classList.add("uq-on");
  const series = seriesOf(curve.run)[image];
  const nearest = curve.points[image].reduce((best, [px], i, all) => (Math.abs(px - x) < Math.abs(all[best][0] - x) ? i : best), 0);
  const index = x === Infinity ? series.length - 1 : nearest;
  const [place, score, at = image] = series[index] ?? [];
  return curve.light(image, { image: at, place, score: short(score), sigma: short(curve.run.steps.find(([at]) => at === place)?.[1]) });
}
