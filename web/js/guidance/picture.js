// The picture on the stage: two of the sweep, one fading into the other, or the last map; with the outline of what guidance moves.

import { html, svg } from "../shared/dom.js";
import { enlarge, maskLimit, paint, readColours, readPlane, sortedValues } from "../heatmap/field.js";
import { outline, outlinePath } from "../heatmap/outline.js";
import { address, levelsOf } from "../heatmap/pages.js";

const SIDE = 192;
const BOX = 1000;

export class Picture {
  constructor() {
    this.images = [html("img", { alt: "" }), html("img", { alt: "" })];
    this.canvas = html("canvas");
    this.lines = ["uq-under", "uq-over"].map((kind) => svg("path", { class: `uq-outline ${kind}` }));
    this.drawing = svg("svg", { viewBox: `0 0 ${BOX} ${BOX}`, "aria-hidden": "true" }, ...this.lines);
    this.name = html("span", { class: "uq-name" });
    this.element = html("div", { class: "uq-pane uq-picture" }, ...this.images, this.canvas, this.drawing, this.name);
    this.grid = null;
    this.images[0].addEventListener("load", () => this.fit());
  }

  // sent: what the node sent of its last run's map, or null.
  async showMap(sent) {
    if (!sent || sent.failed) return;
    const plane = readPlane(await levelsOf(sent.file), 0, sent, sent);
    const scale = SIDE / Math.max(plane.width, plane.height);
    this.grid = enlarge(plane, Math.round(plane.width * scale), Math.round(plane.height * scale));
    this.sorted = sortedValues(this.grid);
    [this.canvas.width, this.canvas.height] = [this.grid.width, this.grid.height];
    const pixels = paint(this.grid, plane.ends, readColours(sent.colours));
    this.canvas.getContext("2d").putImageData(new ImageData(pixels, this.grid.width, this.grid.height), 0, 0);
    this.fit();
  }

  // files: of the sweep's pictures; mix: which two of them, and how much of the second. None: the map in colours.
  show(files, mix, name) {
    this.name.textContent = name;
    this.canvas.hidden = files.length > 0;
    const shown = files.length ? [files[mix.left], files[mix.right]] : [];
    this.images.forEach((image, i) => {
      image.hidden = !shown[i];
      const source = shown[i] ? address(shown[i]) : "";
      if (source && image.getAttribute("src") !== source) image.src = source;
    });
    this.images[1].style.opacity = mix?.share ?? 0;
  }

  outline(percent) {
    const limit = this.grid && percent > 0 ? maskLimit(this.sorted, percent) : null;
    const path = limit === null ? "" : outlinePath(outline(this.grid, limit), BOX);
    for (const line of this.lines) line.setAttribute("d", path);
  }

  // The outline lies on what is seen, in its proportions.
  fit() {
    const [image] = this.images;
    const aspect = !image.hidden && image.naturalWidth ? image.naturalWidth / image.naturalHeight : this.grid ? this.grid.width / this.grid.height : 1;
    this.drawing.setAttribute("viewBox", `0 0 ${BOX * aspect} ${BOX}`);
    for (const line of this.lines) line.setAttribute("transform", `scale(${aspect} 1)`);
  }
}
