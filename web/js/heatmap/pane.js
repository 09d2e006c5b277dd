// One picture of the viewer: the image, the colours over it, the outline of the mask, and a cross where the pointer is.

import { html, svg } from "../shared/dom.js";
import { pointIn } from "./box.js";
import { maskLimit, paint } from "./field.js";
import { outline, outlinePath } from "./outline.js";

const BOX = 1000;

export class Pane {
  constructor(name) {
    this.name = html("span", { class: "uq-name", title: name }, name);
    this.value = html("span", { class: "uq-name uq-value" });
    this.canvas = html("canvas");
    this.lines = ["uq-under", "uq-over"].map((kind) => svg("path", { class: `uq-outline ${kind}` }));
    this.cross = svg("path", { class: "uq-cross" });
    this.drawing = svg("svg", { "aria-hidden": "true" }, ...this.lines, this.cross);
    this.element = html("div", { class: "uq-pane" }, this.canvas, this.drawing, this.name, this.value);
    this.content = null;
  }

  // What openPage gave.
  show(content) {
    this.content = content;
    this.element.querySelector("img")?.remove();
    this.element.querySelector("p")?.remove();
    if (content.picture) this.element.prepend(content.picture);
    const { aspect } = content;
    this.drawing.setAttribute("viewBox", `0 0 ${BOX * aspect} ${BOX}`);
    for (const line of this.lines) line.setAttribute("transform", `scale(${aspect} 1)`);
  }

  say(words) {
    this.content = null;
    this.element.replaceChildren(html("p", {}, words), this.name);
  }

  colour(ends, colours) {
    const grid = this.content?.grid;
    this.canvas.hidden = !grid;
    if (!grid) return;
    [this.canvas.width, this.canvas.height] = [grid.width, grid.height];
    this.canvas.getContext("2d").putImageData(new ImageData(paint(grid, ends, colours), grid.width, grid.height), 0, 0);
  }

  fade(opacity) {
    this.canvas.style.opacity = this.content?.picture ? opacity : 1; // without an image the node gives out the colours alone
  }

  // The outline of what lies above that percentile.
  mask(percent) {
    const { grid, sorted } = this.content ?? {};
    this.limit = grid ? maskLimit(sorted, percent) : Infinity;
    const path = grid ? outlinePath(outline(grid, this.limit), BOX) : "";
    for (const line of this.lines) line.setAttribute("d", path);
  }

  // [x, y] in the picture where the pointer is over it, else null.
  pointAt(event) {
    return this.content && pointIn(this.element.getBoundingClientRect(), this.content.aspect, event.clientX, event.clientY);
  }

  // words: of the value there.
  point(at, words) {
    this.value.textContent = words;
    const width = BOX * (this.content?.aspect ?? 1);
    this.cross.setAttribute("d", at ? `M0 ${at[1] * BOX}H${width}M${at[0] * width} 0V${BOX}` : "");
  }
}
