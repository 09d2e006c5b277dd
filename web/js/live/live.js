// The curve in every node that samples or records: while a run goes on from the server's messages, afterwards from what the node sent.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { button, html } from "../shared/dom.js";
import { findNode } from "../shared/nodes.js";
import { isOpen } from "../shared/origin.js";
import { isNumber, short } from "../shared/scales.js";
import { LIVE, setting, speaker } from "../shared/settings.js";
import { useTheme } from "../shared/theme.js";
import { addPanel, panelOf } from "../shared/widget.js";
import { drawCurve, makeCurve } from "./curve.js";
import { earlierRuns, keepRun } from "./history.js";
import { imagesOf, merge, seriesOf, worst } from "./runs.js";
import { texts } from "./words.js";

const EVENT = "uncertainty.live";
const NAME = "uncertainty_curve"; // not the name of an input: links would end at it
const HEIGHT = 204;
const WIDTH = 300;
const KINDS = new Set([
  "UQ_BestOfN",
  "UQ_ReadUncertainty",
  "UQ_RecordUncertainty",
  "UQ_SampleUntilAccepted",
  "UQ_UncertaintyEstimator",
  "UQ_UncertaintyGuidance",
  "UQ_UncertaintyGuidedSampler",
  "UQ_UncertaintyGuider",
]);
const STYLE = `
.uq .uq-curve { height: 120px; overflow: visible; touch-action: none; border-radius: 4px; }
.uq .uq-dots { stroke-width: 5; stroke-linecap: round; fill: none; }
.uq .uq-dots.uq-on { stroke-width: 9; }
.uq .uq-lit .uq-dots:not(.uq-on) { stroke-opacity: 0.25; }
.uq .uq-limit { stroke-width: 1; stroke: var(--uq-mark); stroke-dasharray: 3 3; }
.uq .uq-head { min-height: 22px; flex-wrap: nowrap; }
.uq .uq-head > span { flex: 1 1 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.uq .uq-legend { min-height: 18px; font-size: 11px; }
.uq .uq-swatch.uq-gray { background: var(--uq-soft); opacity: 0.5; }
`;
const say = speaker(texts);

function words(run, [from, to]) {
  const { image, score } = worst(run);
  const noiseAt = (place) => run.steps.find(([at]) => at >= place)?.[1]; // of a place that was reached
  const count = seriesOf(run).length;
  const isLevel = run.axis === "level" || run.axis === "point";
  return {
    left: isLevel ? say("noise", { value: short(noiseAt(from)) }) : `${say(run.axis)} ${from + 1}`,
    right: !isLevel ? `${to + 1}` : noiseAt(to) === undefined ? "" : short(noiseAt(to)),
    label: say("label", { count, places: run.steps.length, of: run.of, image, score: short(score) }),
    levels: [say("lower"), say("usualLevel"), say("higher")],
  };
}

function build(panel) {
  const title = html("span", { class: "uq-soft" });
  const stop = button(say("stop"), () => api.interrupt(panel.prompt), { title: say("stopHint"), class: "uq-button uq-push", hidden: true });
  const view = button("", () => switchView(panel), { hidden: true });
  const legend = html("p", { class: "uq-row uq-soft uq-legend", "aria-live": "polite" });
  const curve = makeCurve(words, (image, point) => readOut(panel, image, point));
  Object.assign(panel, { title, view, stop, legend, curve });
  panel.element.append(html("div", { class: "uq-row uq-head" }, title, view, stop), curve.element, legend);
}

// Between the scores themselves and the scores beside what was usual.
function switchView(panel) {
  panel.curve.compares = !panel.curve.compares;
  update(panel, panel.run, panel.isRunning);
}

// Draws at most once a frame, however many messages come. What is done only once has frames of its own: the elements, and room in the node.
function update(panel, run, isRunning) {
  Object.assign(panel, { run, isRunning });
  if (!panel.frame) nextFrame(panel, panel.curve ? paint : begin);
}

function nextFrame(panel, act) {
  panel.frame = requestAnimationFrame(() => {
    panel.frame = 0;
    act(panel);
  });
}

function begin(panel) {
  build(panel);
  nextFrame(panel, makeRoom);
}

function makeRoom(panel) {
  panel.resize();
  nextFrame(panel, paint);
}

function paint(panel) {
  const { run, isRunning, node, curve, view } = panel;
  const axis = say(run.axis);
  const place = (run.steps.at(-1)?.[0] ?? 0) + 1;
  const end = say(run.direction === "high_is_bad" ? "high" : "low");
  write(panel.title, `${isRunning ? say("running", { axis, place, of: run.of }) : say("done", { axis })} · ${end}`);
  panel.stop.hidden = !isRunning;
  if (panel.earlierFor !== run.run) Object.assign(panel, { earlierFor: run.run, earlier: earlierRuns(node) });
  panel.seen = drawCurve(curve, run, panel.earlier);
  view.hidden = !panel.seen.canCompare;
  write(view, say(curve.compares ? "scores" : "compare"));
  view.title = say(curve.compares ? "scoresHint" : "compareHint");
  if (curve.lit < 0) readOut(panel, -1);
  panel.resize(); // where there was no room before, as in a collapsed node
  if (!panel.seen.isWhole) update(panel, run, isRunning);
}

// Text that is set anew is laid out anew, also where it stays the same.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Below the chart: the image that is lit, else what the colours mean.
function readOut(panel, image, point) {
  const { run, seen } = panel;
  if (image >= 0) {
    const key = point.place === undefined ? "image" : run.axis === "attempt" ? "try" : "at";
    panel.legend.replaceChildren(say(key, { image, axis: say(run.axis), ...point, place: point.place + 1 }));
    return;
  }
  const marks = seen.band.length ? [["uq-gray", bandWords(panel, run)]] : [];
  if (isNumber(run.limit)) marks.push(["uq-dropped", say("worseThanLimit", { limit: short(run.limit) })]);
  else if (seen.worse.some(Boolean)) marks.push(["uq-dropped", say("worse")]);
  if (panel.legend.textContent === marks.map(([, text]) => text).join("")) return;
  panel.legend.replaceChildren(...marks.map(([name, text]) => html("span", {}, html("span", { class: `uq-swatch ${name}` }), text)));
}

function bandWords({ earlier }, run) {
  if (run.steps.some(([, , , sides]) => sides)) return say("usual", run.usual);
  const count = earlier.filter((each) => each.run !== run.run).reduce((sum, each) => sum + imagesOf(each), 0);
  return say("band", { count });
}

// Once, though both the last message and the node's output tell it.
function keep(panel, run) {
  const name = `${run.run} ${run.steps.length}`;
  if (panel.kept !== name) keepRun(panel.node, run);
  panel.kept = name;
}

// What the node sent when it had run: the whole curve.
function draw(panel, output) {
  const { curve: run } = output?.uq_live?.at(-1) ?? {};
  if (!run?.steps?.length) return;
  update(panel, run, false);
  keep(panel, run);
}

// A message of the server, which sends it to this page alone.
function receive({ detail }) {
  const node = isOpen(detail.workflow) ? findNode(detail.node) : undefined;
  const panel = node?.comfyClass === detail.kind ? panelOf(node, NAME) : undefined;
  if (!panel) return; // another workflow is open
  const run = merge(panel.live, detail);
  panel.live = run;
  panel.prompt = detail.prompt;
  if (detail.done) keep(panel, run);
  if (setting(LIVE) || detail.done) update(panel, run, !detail.done);
}

app.registerExtension({
  name: "uncertaintynodes.Live",
  setup() {
    useTheme("uncertainty-live", STYLE);
    api.addEventListener(EVENT, receive);
  },
  nodeCreated(node) {
    if (!KINDS.has(node.comfyClass)) return;
    addPanel(node, { name: NAME, label: say("panel"), height: (_, panel) => (panel.curve ? HEIGHT : 0), width: WIDTH, draw });
  },
});
