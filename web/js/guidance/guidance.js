// The guidance nodes in ComfyUI: adds the stage to each, and brings it what the server sends.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { findNode, rootGraph } from "../shared/nodes.js";
import { isOpen } from "../shared/origin.js";
import { speaker } from "../shared/settings.js";
import { useTheme } from "../shared/theme.js";
import { addPanel } from "../shared/widget.js";
import "../live/live.js"; // its panel stands above ours: extensions add to a node in the order in which they are registered
import { STYLE as VIEWER_STYLE } from "../heatmap/look.js";
import { STYLE } from "./look.js";
import { heightOf, Stage } from "./stage.js";
import { texts } from "./words.js";

const NODES = ["UQ_UncertaintyGuidedSampler", "UQ_UncertaintyGuidance", "UQ_UncertaintyGuider"];
const WIDTH = 340;
const stages = new WeakMap(); // node -> its stage

app.registerExtension({
  name: "uncertaintynodes.Guidance",
  setup() {
    api.addEventListener("uncertainty.guided", ({ detail }) => {
      const node = findNode(detail.node);
      if (node?.comfyClass === detail.kind && isOpen(detail.workflow)) stages.get(node)?.showRun(detail.stage);
    });
  },
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    useTheme("uncertainty-heatmap", VIEWER_STYLE);
    useTheme("uncertainty-guidance", STYLE);
    const panel = addPanel(node, {
      name: "uncertainty_stage",
      label: speaker(texts)("label"),
      height: () => heightOf(stages.get(node)?.shown),
      width: WIDTH,
      draw: (_, output) => stages.get(node)?.showRun(output?.uq_stage?.at(-1)?.stage),
      connect: (_, signal) => queueMicrotask(() => follow(node, signal)),
    });
    stages.set(node, new Stage(node, panel.element, () => panel.resize()));
    panel.resize();
  },
  afterConfigureGraph() {
    recallAll(rootGraph());
  },
});

function recallAll(graph) {
  for (const node of graph.nodes) {
    stages.get(node)?.recall();
    if (node.subgraph) recallAll(node.subgraph);
  }
}

function follow(node, signal) {
  const stage = stages.get(node);
  if (stage) stage.signal = signal;
}
