// The steps of a run as a chart with three handles: where guidance starts and ends, and how strong it is, over the last run's curves.

import { BOX as CHART, acrossRange, axes, curve, upRange } from "../shared/charts.js";
import { html, svg } from "../shared/dom.js";
import { clamp, linear, scoreScale, short } from "../shared/scales.js";
import { tidy } from "./values.js";

const BOX = { ...CHART, height: 112, left: 10, right: 10, top: 12, bottom: 18 };
const SHOWN = 32;
const GRIP = 7;
const across = linear([0, 1], acrossRange(BOX));

// say: texts. onValue(name, value): a handle was moved.
export class WindowChart {
  constructor(say, onValue) {
    this.onValue = onValue;
    this.curves = svg("g", { class: "uq-faint" });
    this.block = svg("rect", { class: "uq-window" });
    this.handles = ["start_percent", "end_percent", "strength"].map((name) => this.handle(name, say));
    this.label = svg("text", { "text-anchor": "middle" });
    const ends = [
      svg("text", { x: BOX.left, y: BOX.height - 4 }, say("noise")),
      svg("text", { x: BOX.width - BOX.right, y: BOX.height - 4, "text-anchor": "end" }, say("clean")),
    ];
    const marks = [axes(BOX), this.curves, this.block, ...this.handles, this.label, ...ends];
    this.drawing = svg("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "group", "aria-label": say("steps") }, ...marks);
    this.element = html("div", { class: "uq-steps", title: say("steps") }, this.drawing);
  }

  handle(name, say) {
    const label = say({ start_percent: "start", end_percent: "end", strength: "strength" }[name]);
    const handle = svg("g", { class: "uq-handle", tabindex: 0, role: "slider", "aria-label": label, "data-drag": name });
    handle.append(svg("path", { class: "uq-grip" }), svg("path", { class: "uq-line" }));
    handle.addEventListener("pointerdown", (event) => this.grab(event, handle, name));
    handle.addEventListener("keydown", (event) => this.press(event, name));
    return handle;
  }

  // stage: what the node sent of its last run.
  showRun({ evaluations, places, curves }) {
    const up = scoreScale(curves.flat(), upRange(BOX));
    const lines = curves.slice(0, SHOWN).map((scores) => {
      const points = scores.map((score, i) => [across.of(evaluations[places[i]][0]), score]).filter(([, score]) => score !== null);
      return curve(points.map(([x, score]) => [x, up.of(score)]), { class: "uq-run" });
    });
    this.curves.replaceChildren(...lines);
  }

  // settings: the node's values; ranges: of its widgets. fixed: it cannot be changed here.
  show(settings, ranges, fixed) {
    Object.assign(this, { settings, ranges, fixed });
    if (!this.held) this.scale = linear(strengthDomain(settings.strength, ranges.strength), upRange(BOX));
    const [left, right] = [across.of(settings.start_percent), across.of(settings.end_percent)];
    const [height, zero] = [clamp(this.scale.of(settings.strength), BOX.top, BOX.height - BOX.bottom), this.scale.of(0)];
    const box = { x: left, width: Math.max(1, right - left), y: Math.min(height, zero), height: Math.abs(zero - height) };
    for (const [name, value] of Object.entries(box)) this.block.setAttribute(name, value);
    const [low, high] = [BOX.height - BOX.bottom, BOX.top];
    draw(this.handles[0], `M${left} ${low}V${high}`);
    draw(this.handles[1], `M${right} ${low}V${high}`);
    draw(this.handles[2], `M${left} ${height}H${right}`);
    this.handles.forEach((handle, i) => {
      const name = ["start_percent", "end_percent", "strength"][i];
      handle.setAttribute("aria-valuenow", settings[name]);
      handle.classList.toggle("uq-fixed", fixed(name));
    });
    this.label.setAttribute("x", clamp((left + right) / 2, BOX.left + 20, BOX.width - BOX.right - 20));
    this.label.setAttribute("y", height > BOX.top + 14 ? height - 5 : height + 13);
    this.label.textContent = short(settings.strength);
  }

  grab(event, handle, name) {
    if (this.fixed?.(name)) return;
    event.preventDefault();
    event.stopPropagation();
    this.held = name;
    handle.setPointerCapture(event.pointerId);
    const controller = new AbortController();
    const { signal } = controller;
    const release = () => {
      controller.abort();
      this.held = null;
      this.show(this.settings, this.ranges, this.fixed);
    };
    handle.addEventListener("pointermove", (moved) => this.move(moved, name), { signal });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) handle.addEventListener(type, release, { signal });
  }

  move(event, name) {
    const { left, top, width, height } = this.drawing.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * BOX.width;
    const y = ((event.clientY - top) / height) * BOX.height;
    this.set(name, name === "strength" ? this.scale.at(y) : across.at(x));
  }

  press(event, name) {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by || this.fixed?.(name)) return;
    event.preventDefault();
    event.stopPropagation();
    this.set(name, this.settings[name] + by * this.ranges[name].step);
  }

  set(name, value) {
    const { start_percent: start, end_percent: end } = this.settings;
    const { min, max, step } = this.ranges[name];
    if (name === "strength") return this.onValue(name, tidy(clamp(Math.round(value * 1000) / 1000, min, max)));
    const inside = name === "start_percent" ? clamp(value, min, end) : clamp(value, start, max);
    return this.onValue(name, clamp(tidy(Math.round(inside / step) * step), min, max));
  }
}

// From none to a half more than the present strength.
export function strengthDomain(strength, { min, max }) {
  const reach = Math.max(Math.abs(strength) * 1.5, 0.03);
  return [strength < 0 ? Math.max(min, -reach) : 0, strength < 0 ? 0 : Math.min(max, reach)];
}

function draw(handle, path) {
  for (const line of handle.children) line.setAttribute("d", path);
  handle.firstChild.setAttribute("stroke-width", 2 * GRIP);
}
