// One image at its own size, with what is known of it; arrow keys go on, space keeps or rejects.
class Viewer {
  // tell(image) gives text; next(image, step) the neighbour or undefined; toggle(image) changes its side; isKept(image)
  constructor(data, { tell, next, toggle, isKept }) {
    Object.assign(this, { data, tell, next, toggle, isKept, box: document.getElementById("viewer") });
    const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
    on("before", "click", () => this.go(-1)); on("after", "click", () => this.go(1)); on("close", "click", () => this.box.close());
    on("toggle", "click", () => this.change()); on("showheat", "change", () => this.fill());
    this.box.addEventListener("keydown", e => {
      const act = { ArrowLeft: () => this.go(-1), ArrowRight: () => this.go(1), " ": () => this.change(), h: () => { const heat = document.getElementById("showheat"); heat.checked = !heat.checked; this.fill(); } }[e.key];
      if (act && !(e.key === " " && e.target.tagName === "INPUT")) { e.preventDefault(); act(); }
    });
  }
  show(image) { this.image = image; this.fill(); if (!this.box.open) this.box.showModal(); }
  go(step) { const image = this.next(this.image, step); if (image !== undefined) this.show(image); }
  change() { this.toggle(this.image); this.fill(); }
  fill() {
    const { data: d, image: i } = this, $ = id => document.getElementById(id), [width, height] = d.size[i];
    $("large").src = d.href[i]; $("large").alt = d.name[i]; $("large").classList.toggle("pixels", Math.max(width, height) < 256);
    $("showheat").parentElement.hidden = !d.heat[i]; $("largeheat").hidden = !d.heat[i] || !$("showheat").checked;
    if (d.heat[i]) $("largeheat").src = d.heat[i];
    $("told").textContent = this.tell(i); $("open").href = d.href[i];
    $("toggle").textContent = this.isKept(i) ? "Kept: reject it" : "Rejected: keep it";
    $("before").disabled = this.next(i, -1) === undefined; $("after").disabled = this.next(i, 1) === undefined;
  }
}
