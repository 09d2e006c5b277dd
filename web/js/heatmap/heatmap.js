// Uncertainty Heatmap in ComfyUI: adds the viewer to the node.

import { app } from "../../../../scripts/app.js";
import { speaker } from "../shared/settings.js";
import { useTheme } from "../shared/theme.js";
import { addPanel } from "../shared/widget.js";
import { STYLE } from "./look.js";
import { Viewer } from "./viewer.js";
import { texts } from "./words.js";

const HEIGHT = 420;
const WIDTH = 420;
const MARGINS = 28; // the host's around the panel, and the panel's own

app.registerExtension({
  name: "uncertaintynodes.Heatmap",
  nodeCreated(node) {
    if (node.comfyClass !== "UQ_Heatmap") return;
    useTheme("uncertainty-heatmap", STYLE);
    const label = speaker(texts)("label");
    const draw = (shown, output) => {
      viewer.show(output?.uq_heatmap);
      shown.resize();
    };
    const panel = addPanel(node, { name: "uncertainty_viewer", label, height: HEIGHT, width: WIDTH, draw, hidesPicture: true });
    const viewer = new Viewer(node, panel.element, HEIGHT - MARGINS);
    panel.resize();
  },
});
