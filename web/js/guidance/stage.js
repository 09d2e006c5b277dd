// The stage inside of the guidance nodes: pictures of the last sweep, the window over the last run, the pixels that move, the price.

import { button, html } from "../shared/dom.js";
import { short } from "../shared/scales.js";
import { speaker } from "../shared/settings.js";
import { isLinked, rangeOf, setValue, valueOf, watchValues } from "../shared/values.js";
import { addSlider } from "../heatmap/slider.js";
import { Picture } from "./picture.js";
import { drawsPerEvaluation, effective, priceOf } from "./price.js";
import { makeStrip } from "./strip.js";
import { recall, remember, runSweep } from "./sweep.js";
import { mixAt, placeOf, valuesAround } from "./values.js";
import { WindowChart } from "./window.js";
import { texts } from "./words.js";

const say = speaker(texts);
const STEPS = 12; // the most that a sampler of a sweep makes
const NAMES = ["strength", "percentile", "samples", "start_percent", "end_percent", "mode", "units", "preset"];
const DEFAULTS = { strength: 0.02, percentile: 0, samples: 2, start_percent: 0, end_percent: 1, mode: "posterior", units: "relative" };
const RANGES = { strength: { min: -100, max: 100, step: 0.005 }, percentile: { min: 0, max: 100, step: 0.5 } };
const PERCENT = { min: 0, max: 1, step: 0.01 };
const LOW = 236; // height of chart, slider, price and the button, which a long price puts on a line of its own
const HIGH = 470; // with a picture
const MARGINS = 28; // the host's around the panel, and the panel's own

export const heightOf = (shown) => (shown?.sweep || shown?.stage?.map ? HIGH : LOW);

export class Stage {
  constructor(node, element, resize) {
    Object.assign(this, { node, resize, shown: {} });
    this.picture = new Picture();
    this.strip = makeStrip(say("strength"), (value) => this.set("strength", value));
    this.chart = new WindowChart(say, (name, value) => this.set(name, value));
    this.sliders = html("div", { class: "uq-sliders" });
    this.percentile = addSlider(this.sliders, say("percentile"), RANGES.percentile, (value) => this.set("percentile", value));
    this.price = html("span", { class: "uq-price", "aria-live": "polite" });
    this.go = button("", () => this.sweep(), { class: "uq-button uq-push" });
    this.trouble = html("p", { class: "uq-trouble", role: "status", hidden: true });
    const row = html("div", { class: "uq-row" }, this.price, this.go);
    const parts = [this.picture.element, this.strip.element, this.chart.element, this.sliders, row, this.trouble];
    this.main = html("div", { class: "uq-tune" }, ...parts);
    element.replaceChildren(this.main);
    watchValues(node, NAMES, () => this.follow());
    this.restore({});
  }

  // What the node sent of a run.
  showRun(stage) {
    if (!stage || JSON.stringify(stage) === JSON.stringify(this.shown.stage)) return;
    this.restore({ ...this.shown, stage });
    remember(this.node, this.shown);
  }

  // shown: { stage, sweep: { values, images } }, as it was remembered.
  restore(shown) {
    this.shown = shown;
    const { stage, sweep } = shown;
    if (stage) this.chart.showRun(stage);
    this.strip.fill(sweep?.values ?? [], sweep?.images ?? []);
    this.picture.element.hidden = heightOf(shown) === LOW;
    this.main.style.minHeight = `${heightOf(shown) - MARGINS}px`; // the first Vue nodes make a panel as high as what is in it
    this.picture.showMap(stage?.map).then(() => this.follow(), () => {}); // a file of an earlier start of ComfyUI is gone
    this.follow();
    this.resize();
  }

  recall() {
    if (!this.shown.stage && !this.shown.sweep) this.restore(recall(this.node));
  }

  async sweep() {
    const { strength, mode, units } = this.settings();
    const values = valuesAround(strength, mode, units, rangeOf(this.node, "strength", RANGES.strength));
    this.say("queued");
    this.busy = this.go.disabled = true;
    try {
      const images = await runSweep(this.node, values, STEPS, this.signal);
      this.say("");
      this.restore({ ...this.shown, sweep: { values, images } });
      remember(this.node, this.shown);
    } catch (error) {
      this.say(error.message in texts.en ? error.message : "failed", { reason: error.message, ...error });
    } finally {
      this.busy = false;
      this.follow();
    }
  }

  say(key, values) {
    this.trouble.hidden = !key;
    this.trouble.textContent = key ? say(key, values) : "";
    this.trouble.classList.toggle("uq-soft", key === "queued");
  }

  settings() {
    const own = Object.fromEntries(NAMES.map((name) => [name, valueOf(this.node, name, DEFAULTS[name])]));
    return effective(own, this.shown.stage?.paper);
  }

  // Whether a value cannot be changed here.
  fixed(name) {
    return isLinked(this.node, name) || valueOf(this.node, "preset") === "paper";
  }

  set(name, value) {
    setValue(this.node, name, value);
    this.follow();
  }

  // Draws what the node's widgets say.
  follow() {
    const settings = this.settings();
    const ranges = { start_percent: PERCENT, end_percent: PERCENT, strength: rangeOf(this.node, "strength", RANGES.strength) };
    const { values = [], images = [] } = this.shown.sweep ?? {};
    this.chart.show(settings, ranges, (name) => this.fixed(name));
    this.strip.set(settings.strength, this.fixed("strength"));
    const mix = mixAt(images.length, placeOf(values, settings.strength));
    this.picture.show(images, mix, images.length ? this.nameOf(values, mix) : say("mapName"));
    this.picture.outline(settings.percentile);
    const words = settings.percentile ? say("percent", { value: settings.percentile }) : say("allPixels");
    this.percentile.show(settings.percentile, words, this.fixed("percentile"));
    this.price.textContent = this.priceWords(settings);
    this.price.title = say("perImage");
    const tried = valuesAround(settings.strength, settings.mode, settings.units, ranges.strength);
    const barred = isLinked(this.node, "strength") ? "linked" : this.fixed("strength") ? "paper" : "";
    this.go.textContent = say("sweep", { count: tried.length });
    this.go.title = barred ? say(barred) : say("sweepHint", { values: tried.join(", "), steps: STEPS });
    this.go.disabled = this.busy || barred !== "";
  }

  nameOf(values, { left, right, share }) {
    const name = (i) => (values[i] === 0 ? say("unguided") : say("strengthIs", { value: short(values[i]) }));
    if (share < 0.02) return name(left);
    if (share > 0.98) return name(right);
    return say("between", { left: short(values[left]), right: short(values[right]) });
  }

  priceWords(settings) {
    const { evaluations } = this.shown.stage ?? {};
    if (settings.strength === 0) return say("free");
    if (!evaluations) return say("unknown", { each: drawsPerEvaluation(settings) });
    const { guiding, times } = priceOf(evaluations, settings);
    const words = say("price", { more: short(guiding), times: Number(times.toPrecision(2)) });
    return settings.mode === "autograd" ? `${words}, ${say("backward", { more: short(guiding / settings.samples) })}` : words;
  }
}
