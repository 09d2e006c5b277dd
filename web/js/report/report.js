// Draws the result of Uncertainty Report inside the node: score per step, spread of the scores, a table of the images.
// Everything comes from what the node sends when it has run, so a result that comes from the cache looks the same.

import { app } from "../../../../scripts/app.js";
import { html } from "../shared/dom.js";
import { failedWords } from "../shared/failed.js";
import { isNumber, short } from "../shared/scales.js";
import { language, speaker } from "../shared/settings.js";
import { useTheme } from "../shared/theme.js";
import { addPanel } from "../shared/widget.js";
import { curves, hasCurve, spread } from "./figures.js";
import { table } from "./table.js";
import { texts } from "./words.js";

const KIND = "UQ_Report";
const WIDTH = 560;
const CHARTS = 215; // height of what stands above the table
const ROW = { plain: 22, pictured: 47 };
const SHOWN_ROWS = 5; // the others are scrolled to
const STYLE = `
[data-panel="uncertainty_report"] figure { max-width: 250px; }
.uq .uq-title { font-weight: 600; }
.uq .uq-table td, .uq .uq-table th { padding: 1px 8px; font-variant-numeric: tabular-nums; }
.uq .uq-table thead th { position: sticky; top: -4px; background: var(--comfy-menu-bg, #222); color: var(--uq-soft); z-index: 1; }
.uq .uq-table tbody tr { height: 22px; outline-offset: -2px; }
.uq .uq-table tr.uq-on { background: color-mix(in srgb, var(--uq-good) 22%, transparent); }
.uq .uq-table tr.uq-on.uq-out { background: color-mix(in srgb, var(--uq-bad) 26%, transparent); }
.uq .uq-table .uq-thumb { width: 52px; text-align: left; }
.uq .uq-table img { display: block; height: 42px; max-width: 64px; object-fit: contain; border-radius: 3px; margin: 1px 0; }
.uq .uq-table tr.uq-out img { opacity: 0.6; }
.uq .uq-sort { all: unset; cursor: pointer; }
.uq .uq-sort:focus-visible { outline: 2px solid var(--uq-focus); border-radius: 2px; }
.uq th[aria-sort="ascending"] .uq-sort::after { content: " ▲"; font-size: 8px; }
.uq th[aria-sort="descending"] .uq-sort::after { content: " ▼"; font-size: 8px; }
`;
const say = speaker(texts);

function legend(report, copy) {
  const swatch = (name, key, count) => html("span", {}, html("span", { class: `uq-swatch ${name}` }), say(key, { count }));
  const sides = !report.accepted
    ? []
    : [swatch("uq-kept", "acceptedCount", report.accepted.length), swatch("uq-dropped", "rejectedCount", report.scores.length - report.accepted.length)];
  return html("div", { class: "uq-row uq-soft" }, ...sides, copy);
}

// As the server's own, which is English, in the language of the page.
function titleOf(report) {
  const { scores, nfe, seconds, direction } = report;
  if (![nfe, seconds].every(isNumber)) return report.title;
  const count = say(scores.length === 1 ? "oneImage" : "images", { count: scores.length });
  const end = say(direction === "high_is_bad" ? "high" : "low");
  return say("title", { quantity: report.quantity, end, count, nfe: short(nfe), seconds: short(seconds) });
}

function section(report) {
  const whole = html("section");
  const light = (image) => {
    whole.classList.toggle("uq-lit", image >= 0);
    for (const mark of whole.querySelectorAll("[data-image]")) mark.classList.toggle("uq-on", Number(mark.dataset.image) === image);
  };
  const charts = [];
  if (hasCurve(report)) charts.push(curves(report, light));
  if (report.histogram.edges.length) charts.push(spread(report));
  const { element, copy } = table(report, light);
  whole.append(
    html("p", { class: "uq-title" }, titleOf(report)),
    ...(report.failed ? [html("p", {}, failedWords(report.failed, report.scores))] : []),
    html("div", { class: "uq-charts" }, ...charts),
    legend(report, copy),
    element,
  );
  return whole;
}

function draw(panel, output) {
  const reports = output?.uq_report;
  if (!reports) return;
  const scroll = panel.element.scrollTop;
  panel.element.replaceChildren(...reports.map(section));
  panel.element.scrollTop = scroll;
  const rows = reports.reduce((sum, report) => sum + report.scores.length, 0);
  const row = reports.some((report) => report.pictures?.length) ? ROW.pictured : ROW.plain;
  panel.height = CHARTS + ROW.plain + Math.min(rows, SHOWN_ROWS) * row;
  panel.tallest = CHARTS + ROW.plain + rows * row;
  panel.resize();
}

app.registerExtension({
  name: "uncertaintynodes.Report",
  setup: () => useTheme("uncertainty-report", STYLE),
  nodeCreated(node) {
    if (node.comfyClass !== KIND) return;
    const [height, tallest] = ["height", "tallest"].map((name) => (_, panel) => panel[name] ?? 0);
    // The server's picture is written in the language of the page; English needs no telling.
    const sends = () => (language().startsWith("zh") ? "zh" : undefined);
    addPanel(node, { name: "uncertainty_report", label: say("panel"), height, tallest, width: WIDTH, draw, sends, hidesPicture: true });
  },
});
