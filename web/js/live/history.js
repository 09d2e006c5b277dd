// Earlier runs of a node, kept by this tab of the browser: they make the band behind the curve, also after the page was loaded again.

import { locator, rootGraph } from "../shared/nodes.js";
import { remember } from "./runs.js";

const keyOf = (node) => `uncertainty.runs:${rootGraph()?.id}:${locator(node)}:${node.comfyClass}`;

export const earlierRuns = (node) => read(keyOf(node));

// In a while, so that the frame which draws the end of the run has not to wait for it.
export function keepRun(node, run) {
  const key = keyOf(node);
  if (run.steps.length) setTimeout(() => write(key, remember(read(key), run)));
}

function read(key) {
  try {
    const runs = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(runs) ? runs.filter((run) => Array.isArray(run?.steps)) : [];
  } catch {
    return []; // a browser that keeps nothing, or something else under our name
  }
}

function write(key, runs) {
  try {
    sessionStorage.setItem(key, JSON.stringify(runs));
  } catch {
    // full, or switched off: the next run has no band
  }
}
