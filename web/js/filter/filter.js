// Sample Filter's panel: the scores of the last run, how many images would pass with the widgets as they are now, and the line to drag.

import { app } from "../../../../scripts/app.js";
import { button, html } from "../shared/dom.js";
import { failedWords } from "../shared/failed.js";
import { isNumber, short } from "../shared/scales.js";
import { speaker } from "../shared/settings.js";
import { useTheme } from "../shared/theme.js";
import { isLinked, setValue, valueOf, watchValues, widgetOf } from "../shared/values.js";
import { addPanel } from "../shared/widget.js";
import { lineChart, positionOf } from "./chart.js";
import { decide } from "./decide.js";
import { domain, stepped, valueAt } from "./line.js";
import { pile } from "./pile.js";
import { STYLE } from "./style.js";
import { texts } from "./words.js";

const WIDTH = 420;
const ROOM = { asked: 56, chart: 236, chip: 54, picture: 68, plain: 26, rows: 3 }; // heights, the width of an image, most rows of images
const say = speaker(texts);

function height({ node, report }) {
  if (!report) return ROOM.asked;
  const across = Math.max(1, Math.floor((Math.max(node.size[0], WIDTH) - 46) / ROOM.chip));
  const rows = Math.min(ROOM.rows, Math.ceil(report.scores.length / across));
  const hints = hintsOf(node, report).length;
  return ROOM.chart + rows * (report.thumbnails ? ROOM.picture : ROOM.plain) + 24 * hints;
}

// As the widgets say now; of a widget whose value comes over a link, as the last run was told.
const choice = (node, { filter }) => ({
  rule: valueOf(node, "rule", filter.rule),
  value: valueOf(node, "value", filter.value),
  weight: valueOf(node, "extra_weight", filter.extra_weight),
});

const isAsLastRun = ({ rule, value, weight }, { filter }) =>
  rule === filter.rule && value === filter.value && weight === filter.extra_weight;

// What stands below the images.
function hintsOf(node, { review, failed, scores }) {
  const how = review && say(review.near > 1 ? "review" : `review${review.near}`, { near: review.near, ending: say(review.ending) });
  return [failed && failedWords(failed, scores), how, isLinked(node, "value") && say("wired")].filter(Boolean);
}

const batchOf = (report) => ({ scores: report.scores, direction: report.direction, ...report.filter });

function draw(panel, output) {
  const report = output?.uq_report?.[0];
  if (!report?.filter) return;
  panel.report = report;
  refresh(panel);
  panel.resize();
}

function refresh(panel) {
  const { node, report } = panel;
  if (!report) return;
  const chosen = choice(node, report);
  const last = isAsLastRun(chosen, report);
  const byRule = decide(batchOf(report), chosen) ?? (last ? decide(batchOf(report), { rule: "threshold", value: report.line }) : null);
  const passed = report.scores.map((_, image) => report.accepted.includes(image)); // a person may have decided otherwise than the rule
  const decision = last && byRule ? { ...byRule, passes: passed, aside: new Set(report.unsure) } : byRule;
  const keepsFocus = panel.element.contains(document.activeElement) && document.activeElement.closest(".uq-line");
  panel.element.replaceChildren(...(decision ? parts(panel, chosen, decision) : [headline(panel, null), html("p", { class: "uq-soft" }, say("unknown"))]));
  if (keepsFocus) panel.element.querySelector(".uq-line")?.focus();
}

function parts(panel, chosen, decision) {
  const { node, report } = panel;
  if (!decision.axis.some(isNumber)) return [headline(panel, decision), html("p", { class: "uq-soft" }, say("nothing")), pile(report, decision, say)];
  const range = panel.range ?? domain(decision, decision.line);
  const wired = isLinked(node, "value");
  const still = wired || valueAt(batchOf(report), decision, chosen.rule, 0) === null;
  const figure = lineChart(decision, range, lineWords(report, chosen, decision), still ? null : drag(panel, chosen, decision, range));
  if (still) figure.classList.add("uq-still");
  const images = pile(report, decision, say);
  light(figure, images);
  return [headline(panel, decision), figure, images, ...hintsOf(node, report).map((hint) => html("p", { class: "uq-soft" }, hint))];
}

function headline(panel, decision) {
  const { report } = panel;
  const size = report.scores.length;
  const now = decision?.passes.flatMap((passes, i) => (passes ? [i] : [])) ?? report.accepted;
  const same = report.accepted.join() === now.join();
  const count = same ? report.accepted.length : now.length;
  const words = html("span", { class: "uq-headline", "aria-live": "polite" }, say(same ? "passed" : "would", { count, size }));
  const aside = same && report.unsure?.length ? [html("span", { class: "uq-soft" }, say("aside", { count: report.unsure.length }))] : [];
  const before = same ? aside : [html("span", { class: "uq-soft" }, say("changed", { count: report.accepted.length }))];
  const run = button(say("run"), () => app.queuePrompt(0), { class: "uq-button uq-push", title: say("runHint") });
  return html("div", { class: "uq-row" }, words, ...before, same ? null : run);
}

function lineWords(report, { rule, value }, decision) {
  const [count, size] = [decision.passes.filter(Boolean).length, decision.passes.length];
  const shown = rule === "threshold" ? short(value) : rule === "keep_best_count" ? `${value}` : `${Number(Number(value).toFixed(2))} %`;
  const end = say(decision.highIsBad ? "high" : "low");
  return {
    value: shown,
    now: value,
    line: say("line"),
    spoken: say("lineValue", { value: shown, count, size }),
    caption: say("caption", { name: decision.joined ? say("joined") : report.quantity, end }),
    label: say("panel"),
    bar: (number, low, high) => say("bar", { count: number, low: short(low), high: short(high) }),
  };
}

function drag(panel, chosen, decision, range) {
  const { node, report } = panel;
  const set = (value) => value !== null && setValue(node, "value", value);
  const move = (event) => set(valueAt(batchOf(report), decision, chosen.rule, positionOf(event, panel.element, range)));
  return {
    by: (steps) => set(stepped(batchOf(report), decision, chosen.rule, widgetOf(node, "value").value, steps)),
    start: (event) => follow(panel, event, range, move),
  };
}

// Until the pointer is let go, the axis stays as it is: the chart is drawn anew with each move.
function follow(panel, first, range, move) {
  panel.range = range;
  const over = new AbortController();
  const listen = (type, act) =>
    window.addEventListener(type, (event) => event.pointerId === first.pointerId && act(event), { signal: over.signal, capture: true });
  const end = () => {
    over.abort();
    panel.range = undefined;
    refresh(panel);
  };
  listen("pointermove", move);
  listen("pointerup", end);
  listen("pointercancel", end);
  move(first);
}

// The mark on the axis and the picture of one image light up together.
function light(figure, images) {
  const mark = (image, on) => {
    for (const part of [figure, images]) part.querySelector(`[data-image="${image}"]`)?.classList.toggle("uq-on", on);
  };
  for (const part of [figure, images]) {
    for (const [type, on] of [["pointerover", true], ["pointerout", false]]) {
      part.addEventListener(type, (event) => {
        const image = event.target.closest("[data-image]")?.dataset.image;
        if (image !== undefined) mark(image, on);
      });
    }
  }
}

app.registerExtension({
  name: "uncertaintynodes.Filter",
  nodeCreated(node) {
    if (node.comfyClass !== "UQ_SampleFilter") return;
    useTheme("uncertainty-filter", STYLE);
    const room = () => height(panel ?? { node });
    let panel = null;
    panel = addPanel(node, { name: "uncertainty_filter", label: say("panel"), height: room, width: WIDTH, draw });
    panel.element.replaceChildren(html("p", { class: "uq-soft" }, say("empty")));
    watchValues(node, ["rule", "value", "extra_weight"], () => refresh(panel));
  },
});
