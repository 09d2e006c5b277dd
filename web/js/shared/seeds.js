// The seeds of what our nodes measure, fit or train stay as they are from run to run, unlike those of nodes that sample. A new seed
// would move all scores of a run, which could not be compared with earlier ones, and fit or train anew with every queue. What a saved
// workflow says comes after this.

import { app } from "../../../../scripts/app.js";

app.registerExtension({
  name: "uncertaintynodes.Seeds",
  nodeCreated(node) {
    const widget = (name) => node.widgets?.find((each) => each.name === name);
    const control = widget("control_after_generate");
    if (node.comfyClass?.startsWith("UQ_") && control && !widget("sampler_name")) control.value = "fixed";
  },
});
