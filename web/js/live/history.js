// Earlier runs of a node, kept by this tab of the browser: they make the band behind the curve, also after the page was loaded again.

import { locator, rootGraph } from "../shared/nodes.js";
import { remember } from "./runs.js";

const keyOf = (node) => `uncertainty.runs:${rootGraph()?.id}:${locator(node)}:${node.comfyClass}`;

export function earlierRuns(node) {
  try {
    const runs = JSON.parse(sessionStorage.getItem(keyOf(node)) ?? "[]");
    return Array.isArray(runs) ? runs.filter((run) => Array.isArray(run?.steps)) : [];
  } catch {
    return []; // a browser that keeps nothing, or something else under our name
  }
}

export function keepRun(node, run) {
  if (!run.steps.length) return;
  try {
    sessionStorage.setItem(keyOf(node), JSON.stringify(remember(earlierRuns(node), run)));
  } catch {
    // full, or switched off: the next run has no band
  }
}
