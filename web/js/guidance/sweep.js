// Queues a sweep of the present graph and waits for its pictures.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { executionId, locator } from "../shared/nodes.js";
import { openWorkflow } from "../shared/origin.js";
import { PREVIEW, sweepPrompt } from "./prompt.js";

const ENDS = ["executed", "execution_error", "execution_interrupted"];

// The types that a class gives out, as the server told them.
const typesOf = (name) => LiteGraph.registered_node_types[name]?.nodeData?.output ?? [];

// The files of the pictures, in the order of the values. Throws an Error whose message is a key of words.js, or with `reason` a refusal.
export async function runSweep(node, values, steps, signal) {
  const { output, workflow } = await app.graphToPrompt();
  const prompt = sweepPrompt(output, executionId(node), values, steps, typesOf);
  const heard = listen(signal); // before it is queued: what is cached comes at once
  let id;
  try {
    ({ prompt_id: id } = await api.queuePrompt(0, { output: prompt, workflow }));
  } catch (error) {
    heard.stop();
    throw refusal(error.message);
  }
  const { images } = await heard.of(id);
  if (images.length !== values.length) throw Object.assign(new Error("wrongCount"), { got: images.length, count: values.length });
  return images;
}

const refusal = (reason) => Object.assign(new Error("failed"), { reason });

function listen(signal) {
  const controller = new AbortController();
  signal.addEventListener("abort", () => controller.abort());
  const events = [];
  let look = () => {};
  for (const type of ENDS) {
    const hear = ({ detail }) => look(events.push({ type, detail }));
    api.addEventListener(type, hear);
    controller.signal.addEventListener("abort", () => api.removeEventListener(type, hear));
  }
  const of = (id) =>
    new Promise((resolve, reject) => {
      look = () => {
        for (const { type, detail } of events.splice(0)) {
          if (detail?.prompt_id !== id) continue;
          if (type === "execution_error") reject(refusal(detail.exception_message));
          else if (type === "execution_interrupted") reject(new Error("stopped"));
          else if (detail.node === PREVIEW) resolve(detail.output);
        }
      };
      look();
    }).finally(() => controller.abort());
  return { of, stop: () => controller.abort() };
}

// What a stage shows, for as long as the tab is open: never part of the workflow.
function key(node) {
  const id = openWorkflow();
  return id ? `uncertainty.stage:${id}:${locator(node)}:${node.comfyClass}` : null;
}

export function remember(node, shown) {
  try {
    if (key(node)) sessionStorage.setItem(key(node), JSON.stringify(shown));
  } catch {
    // full or forbidden: it is gone after a reload, that is all
  }
}

export function recall(node) {
  try {
    return JSON.parse(key(node) && sessionStorage.getItem(key(node))) ?? {};
  } catch {
    return {};
  }
}
