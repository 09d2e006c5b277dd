// A grid of any length: only the rows that are on the screen are in the page.
"use strict";
const GAP = 12, HEAD = 52, TEXT = 48, MARGIN = 800;
const el = (tag, attributes = {}, ...children) => { const e = document.createElement(tag); Object.assign(e, attributes); e.append(...children); return e; };

class Grid {
  // cell(image) and head(group) make elements; refresh(element, image) brings one up to date
  constructor(box, { cell, head, refresh }) {
    Object.assign(this, { box, cell, head, refresh, rows: [], shown: new Map(), groups: [], side: 144, heat: false });
    addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => { if (box.clientWidth !== this.width) this.layout(); }).observe(box);
  }

  // groups: [{ prompt or null, images: [number, ..] }, ..]
  set(groups) { this.groups = groups; this.layout(); }

  layout() {
    this.width = this.box.clientWidth;
    const columns = Math.max(1, Math.floor((this.width + GAP) / (this.side + GAP)));
    const height = (this.width - (columns - 1) * GAP) / columns + TEXT;
    this.rows = [];
    let y = 0;
    for (const group of this.groups) {
      if (group.prompt !== null) { this.rows.push({ y, height: HEAD, group }); y += HEAD; }
      for (let i = 0; i < group.images.length; i += columns) { this.rows.push({ y, height, images: group.images.slice(i, i + columns) }); y += height + GAP; }
    }
    Object.assign(this, { columns, height: y });
    this.box.style.height = y + "px";
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.draw();
  }

  draw() {
    const top = -this.box.getBoundingClientRect().top - MARGIN, bottom = top + innerHeight + 2 * MARGIN;
    let low = 0, high = this.rows.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.rows[middle].y + this.rows[middle].height < top) low = middle + 1; else high = middle; }
    const wanted = new Set();
    for (let i = low; i < this.rows.length && this.rows[i].y < bottom; i++) wanted.add(i);
    for (const [i, row] of this.shown) if (!wanted.has(i)) { row.remove(); this.shown.delete(i); }
    for (const i of wanted) if (!this.shown.has(i)) { const row = this.make(this.rows[i]); this.shown.set(i, row); this.box.append(row); }
  }

  make(row) {
    const made = row.group ? this.head(row.group) : el("div", { className: "row" }, ...row.images.map(this.cell));
    made.style.top = row.y + "px"; made.style.height = row.height + "px";
    if (!row.group) { made.style.gridTemplateColumns = `repeat(${this.columns}, minmax(0, 1fr))`; made.classList.toggle("heaton", this.heat); }
    return made;
  }

  // What is on the screen, after a new limit; heads tell their counts anew
  update() {
    for (const [i, row] of this.shown) {
      if (this.rows[i].group) { const made = this.make(this.rows[i]); row.replaceWith(made); this.shown.set(i, made); }
      else { row.classList.toggle("heaton", this.heat); this.rows[i].images.forEach((image, k) => this.refresh(row.children[k], image)); }
    }
  }
}
