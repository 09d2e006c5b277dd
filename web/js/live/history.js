// Earlier runs of a node, kept by this tab of the browser: they make the band behind the curve, also after the page was loaded again.

import { locator, rootGraph } from "../shared/nodes.js";
import { bandOf, remember } from "./runs.js";

const known = new Map(); // key -> runs as they are in the tab's storage

const keyOf = (node) => `uncertainty.runs:${rootGraph()?.id}:${locator(node)}:${node.comfyClass}`;

export const earlierRuns = (node) => recall(keyOf(node));

// In a while, so that the frame which draws the end of the run has not to wait for it, nor the first frame of the next run for the band.
export function keepRun(node, run) {
  const key = keyOf(node);
  if (!run.steps.length) return;
  setTimeout(() => {
    const runs = remember(recall(key), run);
    known.set(key, runs);
    write(key, runs);
    bandOf(runs, { ...run, run: null, steps: [] });
  });
}

function recall(key) {
  if (!known.has(key)) known.set(key, read(key));
  return known.get(key);
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
    // full, or switched off: after a reload the next run has no band
  }
}
