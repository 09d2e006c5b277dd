// The viewer inside of Uncertainty Heatmap: pages, pairs, sliders, and the value under the pointer.

import { button, html } from "../shared/dom.js";
import { short } from "../shared/scales.js";
import { speaker } from "../shared/settings.js";
import { isLinked, setValue, valueOf, watchValues } from "../shared/values.js";
import { percentOf, readColours, valueAt } from "./field.js";
import { openPage, pagesOf } from "./pages.js";
import { commonEnds, kindsOf, pairsOf, turn } from "./pairs.js";
import { Pane } from "./pane.js";
import { addSlider } from "./slider.js";
import { texts } from "./words.js";

const say = speaker(texts);
const KEYS = { ArrowLeft: -1, ArrowRight: 1 };

export class Viewer {
  // height: of the viewer at least, since the first Vue nodes make a panel as high as what is in it.
  constructor(node, element, height) {
    this.node = node;
    this.kind = "none";
    this.place = 0;
    this.panes = [];
    this.sent = this.last = null;
    this.pageLabel = html("span", { class: "uq-page", "aria-live": "polite" });
    this.kinds = html("select", { class: "uq-select", "aria-label": say("compare"), change: () => this.choose(this.kinds.value) });
    this.stage = html("div", { class: "uq-stage", tabindex: 0, role: "group", "aria-label": say("stage"), "data-drag": true });
    this.readout = html("div", { class: "uq-readout uq-soft" }, say("hint"));
    this.turners = [button("◀", () => this.turn(-1), { "aria-label": say("previous") }), button("▶", () => this.turn(1), { "aria-label": say("next") })];
    this.bar = html("div", { class: "uq-row" }, this.turners[0], this.pageLabel, this.turners[1], html("span", { class: "uq-push" }), this.kinds);
    this.sliders = html("div", { class: "uq-sliders" });
    this.opacity = addSlider(this.sliders, say("opacity"), { min: 0, max: 1, step: 0.05 }, (value) => this.set("opacity", value));
    this.percentile = addSlider(this.sliders, say("percentile"), { min: 0, max: 100, step: 0.5 }, (value) => this.set("percentile", value));
    this.empty = html("p", { class: "uq-soft" }, say("empty"));
    this.main = html("div", { class: "uq-viewer", style: `min-height: ${height}px` }, this.bar, this.stage, this.readout, this.sliders);
    element.replaceChildren(this.empty);
    this.element = element;
    watchValues(node, ["opacity", "colormap", "percentile"], () => this.follow());
    this.listen();
  }

  listen() {
    this.stage.addEventListener("keydown", (event) => this.press(event));
    this.stage.addEventListener("pointermove", (event) => this.read(event));
    this.stage.addEventListener("pointerleave", () => this.read(null));
    this.stage.addEventListener("pointerdown", () => this.hold(true));
    for (const type of ["pointerup", "pointerleave", "pointercancel"]) this.stage.addEventListener(type, () => this.hold(false));
  }

  // views: what the node sent. The same once more, as from a cached run, is no new run.
  show(views) {
    if (!views?.length || JSON.stringify(views) === JSON.stringify(this.sent)) return;
    this.last = this.sent;
    this.sent = views;
    [this.pages, this.others, this.before] = [pagesOf(views, "main"), pagesOf(views, "other"), this.last && pagesOf(this.last, "main")];
    if (!this.main.isConnected) this.element.replaceChildren(this.main);
    const kinds = kindsOf(this.pages, this.others, this.before);
    this.kinds.replaceChildren(...kinds.map((kind) => html("option", { value: kind }, say(kind))));
    this.kinds.hidden = kinds.length < 2;
    this.choose(kinds.includes(this.kind) ? this.kind : "none");
  }

  choose(kind) {
    this.kind = this.kinds.value = kind;
    this.pairs = pairsOf(kind, this.pages, this.others, this.before);
    this.place = Math.min(this.place, this.pairs.length - 1);
    return this.open();
  }

  turn(by) {
    this.place = turn(this.place, by, this.pairs.length);
    return this.open();
  }

  async open() {
    const pair = this.pairs[this.place];
    this.label(pair);
    this.opening = pair;
    this.stage.setAttribute("aria-busy", "true");
    const opened = await Promise.allSettled(pair.map((page) => page && openPage(page)));
    if (this.opening !== pair) return; // turned on while it was loading
    this.panes = pair.map((page) => new Pane(this.nameOf(page, pair)));
    this.panes.forEach((pane, i) => {
      const { status, value } = opened[i];
      pane.element.classList.toggle("uq-accepted", pair[i]?.accepted === true);
      pane.element.classList.toggle("uq-rejected", pair[i]?.accepted === false);
      if (status === "fulfilled" && value) pane.show(value);
      else pane.say(say(status === "fulfilled" ? "noPartner" : "unreadable"));
    });
    this.stage.replaceChildren(...this.panes.map((pane) => pane.element));
    this.stage.removeAttribute("aria-busy");
    this.read(null);
    this.follow();
  }

  label(pair) {
    const shown = say("page", { number: this.place + 1, count: this.pairs.length });
    const count = this.sent.reduce((sum, view) => sum + view.main.count, 0);
    const left = this.kind !== "verdict" && count > this.pairs.length ? ` (${say("thinned", { shown: this.pairs.length, count })})` : "";
    this.pageLabel.textContent = shown + left;
    for (const each of this.turners) each.disabled = this.pairs.length < 2;
  }

  nameOf(page, pair) {
    if (!page) return "–";
    const side = pair.length < 2 || this.kind === "verdict" ? [] : [say(this.sideOf(pair.indexOf(page)))];
    const frames = pair.some((each) => each?.frame) || this.pages.some((each) => each.frame);
    const image = say(frames ? "frame" : "image", page);
    const score = !("score" in page) ? [] : [page.score === null ? say("noScore") : say("score", { score: short(page.score) })];
    const verdict = typeof page.accepted === "boolean" ? [say(page.accepted ? "accepted" : "rejected")] : [];
    return [...side, image, ...score, ...verdict].join(" · ");
  }

  sideOf(place) {
    return (this.kind === "last" ? ["thisRun", "lastRun"] : ["first", "second"])[place];
  }

  // Draws what the node's widgets say; over links, what the last run used.
  follow() {
    if (!this.sent) return;
    const { settings, colours } = this.sent[this.sent.length - 1];
    const value = (name) => valueOf(this.node, name, settings[name]);
    const ends = commonEnds(this.panes.map((pane) => pane.content?.plane));
    const table = readColours(colours[value("colormap")] ?? Object.values(colours)[0]);
    for (const pane of this.panes) {
      pane.colour(ends, table);
      pane.fade(value("opacity"));
      pane.mask(value("percentile"));
    }
    this.opacity.show(value("opacity"), short(value("opacity")), isLinked(this.node, "opacity"));
    this.percentile.show(value("percentile"), say("percent", { value: value("percentile") }), isLinked(this.node, "percentile"));
  }

  set(name, value) {
    setValue(this.node, name, value);
    this.follow();
  }

  // The value under the pointer, in every picture of the pair at the same place.
  read(event) {
    const over = event && this.panes.find((pane) => pane.element.contains(event.target));
    const at = over?.pointAt(event) ?? null;
    for (const pane of this.panes) pane.point(at, at ? this.wordsAt(pane, at) : "");
    const compares = this.panes.length > 1 && this.panes.every((pane) => pane.content?.plane);
    const name = this.panes.find((pane) => pane.content?.plane)?.content.page.of.quantity;
    this.readout.textContent = at && name ? say("reading", { name }) : say(compares ? "sameScale" : "hint");
  }

  wordsAt({ content, limit }, [x, y]) {
    if (!content?.grid) return "";
    if (content.plane.failed) return say("noScore");
    const value = valueAt(content.plane, x, y);
    const percent = Math.floor(percentOf(content.sorted, value));
    return [say("value", { value: short(content.page.of.sign * value), percent }), ...(value > limit ? [say("masked")] : [])].join(" · ");
  }

  hold(on) {
    this.stage.classList.toggle("uq-holding", on);
  }

  press(event) {
    const by = KEYS[event.key] ?? { Home: -this.place, End: this.pairs.length - 1 - this.place }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.turn(by);
  }
}
