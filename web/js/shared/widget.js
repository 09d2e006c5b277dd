// A panel of ours inside a node: a DOM widget, which canvas and Vue nodes both show. It is made together with the node, since the first
// Vue nodes never show what is added later; it saves nothing in the workflow, and draws whatever the node last sent.

import { app } from "../../../../scripts/app.js";
import { html } from "./dom.js";
import { rememberedOutput } from "./nodes.js";
import { isKnown, isMeantFor } from "./origin.js";
import { followCached, recallRuns } from "./recall.js";
import { useTheme } from "./theme.js";

const GAP = 4;
const panels = new WeakMap(); // node -> its panels, by name
const inGraphs = new Set(); // nodes with panels that are in some graph

// name: of the widget; never the name of an input, or that input's link would end at it. label: what a screen reader calls it.
// height: a number, or a function of node and panel, which is asked again after panel.resize(). tallest: as height, of a
// panel that can use more room where a user makes the node larger. width: the least of the node while it is shown.
// draw(panel, output): called with what the node sent when it ran, also when the workflow is opened again.
// connect(panel, signal): called when the node comes into a graph; whatever it listens to outside of the node ends with the signal.
// sends(): what the server finds in the prompt under the panel's name, beside the node's inputs; undefined for nothing.
// hidesPicture: the node also sends its chart as a picture, for App Mode, which would show the same thing twice.
export function addPanel(node, { name, label, height, tallest = height, width = 0, draw, connect, sends, hidesPicture = false }) {
  useTheme();
  const looks = { class: hidesPicture ? "uq uq-without-picture" : "uq", role: "group", "aria-label": label, "data-panel": name };
  const element = html("div", looks);
  for (const type of ["pointerdown", "wheel"]) element.addEventListener(type, (event) => keepFromCanvas(event, element));
  const panel = { node, element, draw, hidesPicture, shown: undefined };
  const [measure, most] = [height, tallest].map((room) => () => (typeof room === "function" ? room(node, panel) : room));
  const options = { serialize: Boolean(sends), hideOnZoom: false, getMinHeight: measure, getMaxHeight: most };
  panel.widget = node.addDOMWidget(name, "uncertainty", element, options);
  if (sends) panel.widget.serializeValue = sends;
  panel.widget.label = label; // App Mode shows it over the panel
  panel.widget.serialize = false; // saved workflows keep the positions of the other widgets' values
  // The first Vue nodes keep their own width, whatever size the node is given.
  if (width) useTheme(`uncertainty-width-${name}`, `[data-node-id]:has([data-panel="${name}"][data-wide]) { min-width: ${width}px; }`);
  panel.resize = () => {
    element.toggleAttribute("data-wide", true);
    const room = measure() + 2 * GAP;
    if (room === panel.room && element.isConnected) return; // the host measures all of the node's words, which takes longer than drawing
    panel.room = makeRoom(panel, room, width) ? room : undefined;
  };
  if (!panels.has(node)) follow(node);
  panels.get(node).set(name, panel);
  if (connect) whileInGraph(node, (signal) => connect(panel, signal));
  return panel;
}

export const panelOf = (node, name) => panels.get(node)?.get(name);

// Calls start(signal) now and whenever the node comes back into a graph, as when it moves into a subgraph; the signal ends when it leaves.
export function whileInGraph(node, start) {
  let controller = new AbortController();
  start(controller.signal);
  chain(node, "onRemoved", () => controller.abort());
  chain(node, "onAdded", () => {
    if (!controller.signal.aborted) return;
    controller = new AbortController();
    start(controller.signal);
  });
}

// Runs after what the node does already.
export function chain(node, method, after) {
  const before = node[method];
  node[method] = function (...given) {
    const result = before?.apply(this, given);
    after.apply(this, given);
    return result;
  };
}

function follow(node) {
  panels.set(node, new Map());
  whileInGraph(node, (signal) => {
    inGraphs.add(node);
    signal.addEventListener("abort", () => inGraphs.delete(node));
  });
  chain(node, "onExecuted", (output) => take(node, output));
  chain(node, "collapse", () => makeRoomForAll(node)); // it may have run while it was folded
  node.onDrawBackground = () => restore(node); // in place of the host's, which would load the picture that the panel stands for
}

async function take(node, output) {
  const isMeant = isMeantFor(node, output);
  if (isMeant === true || (await isMeant)) drawAll(node, output); // at once where it can be told
}

// output: what the node sent, or null.
function drawAll(node, output) {
  const kind = output?.uq_kind?.[0];
  if (kind && kind !== node.comfyClass) return;
  for (const panel of panels.get(node)?.values() ?? []) {
    panel.shown = output;
    panel.draw?.(panel, output);
    if (panel.hidesPicture && output?.images) node.hideOutputImages = true; // Vue nodes read it; before they did, the theme hides it
  }
  node.setDirtyCanvas?.(true, true);
}

// What the front-end remembers of the last run, when it opens a workflow once more.
function restore(node) {
  const output = rememberedOutput(node);
  if (output && waits(node) && isKnown(node, output)) queueMicrotask(() => drawAll(node, output)); // not while the canvas goes through the widgets
}

// Whether the node has the size now.
function makeRoom(panel, height, width) {
  const { node } = panel;
  replaceStale(panel);
  if (node.flags?.collapsed) return false;
  const [least, needed] = node.computeSize();
  const size = [Math.max(node.size[0], least, width), Math.max(node.size[1], needed, height)];
  if (size[0] !== node.size[0] || size[1] !== node.size[1]) node.setSize(size);
  node.setDirtyCanvas?.(true, true);
  return true;
}

function makeRoomForAll(node) {
  for (const panel of panels.get(node).values()) if (panel.element.hasAttribute("data-wide")) panel.resize();
}

// The first Vue nodes go on showing the element of the node that had this id in the workflow before.
function replaceStale({ node, element }) {
  if (element.isConnected || app.canvas?.graph !== node.graph) return;
  document.querySelector(`[data-node-id="${node.id}"] [data-panel="${element.dataset.panel}"]`)?.replaceWith(element);
}

// A drag on a control, or a wheel over a list, is not meant for the canvas.
function keepFromCanvas(event, element) {
  const scrolls = event.type === "wheel" && element.scrollHeight > element.clientHeight && !event.ctrlKey;
  if (scrolls || (event.type === "pointerdown" && event.target.closest?.("button, input, select, summary, [data-drag]"))) event.stopPropagation();
}

const waits = (node) => [...(panels.get(node)?.values() ?? [])].some((panel) => panel.shown === undefined);
const restoreAll = () => inGraphs.forEach(restore);

function recallAll() {
  restoreAll();
  const isForgotten = (node) => waits(node) && !rememberedOutput(node);
  return recallRuns([...inGraphs].filter(isForgotten), (node, output) => isForgotten(node) && drawAll(node, output));
}

app.registerExtension({
  name: "uncertaintynodes.Panels",
  setup: () => followCached((node) => panels.has(node), drawAll),
  afterConfigureGraph: () => void recallAll(),
  onNodeOutputsUpdated: () => restoreAll(),
});
