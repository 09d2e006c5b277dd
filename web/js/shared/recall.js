// Gives panels what their nodes showed before the page was loaded again, and what an early server doesn't tell again of cached nodes.

import { api } from "../../../../scripts/api.js";
import { lastOf, newestFirst, sameAs } from "./history.js";
import { executionId, findNode } from "./nodes.js";
import { isOpen, openWorkflow, workflowOf } from "./origin.js";

const ENTRIES = 16; // of the history, which holds whole workflows
const clientId = () => api.clientId ?? api.initialClientId;

async function readHistory() {
  try {
    const reply = await api.fetchApi(`/history?max_items=${ENTRIES}`);
    return reply.ok ? newestFirst(await reply.json()) : [];
  } catch {
    return []; // the panels stay as they are
  }
}

// nodes: that show nothing yet. show(node, output).
export async function recallRuns(nodes, show) {
  const workflow = openWorkflow();
  if (!nodes.length || !workflow) return;
  const entries = await readHistory();
  for (const node of nodes) {
    const id = executionId(node);
    const output = id && lastOf(entries, { client: clientId(), workflow }, id, node.comfyClass);
    if (output) show(node, output);
  }
}

// Calls show(node, output) of nodes with panels whose result was cached and not told. hasPanel(node): whether it is one of ours.
export function followCached(hasPanel, show) {
  let [id, cached, told] = [null, [], new Set()];
  api.addEventListener("execution_start", ({ detail }) => {
    [id, cached, told] = [detail?.prompt_id, [], new Set()];
  });
  api.addEventListener("execution_cached", ({ detail }) => {
    cached = detail?.nodes ?? [];
  });
  api.addEventListener("executed", ({ detail }) => told.add(detail.node));
  api.addEventListener("executing", async ({ detail }) => {
    if (detail) return; // null: the prompt has ended, and the history has it
    const [run, silent] = [id, cached.filter((each) => !told.has(each) && hasPanel(findNode(each)))];
    if (!silent.length) return;
    const entries = await readHistory();
    const queued = entries.find((entry) => entry.prompt[1] === run)?.prompt;
    const prompt = queued?.[2];
    for (const each of prompt && isOpen(workflowOf(queued)) ? silent : []) {
      const [node, output] = [findNode(each), sameAs(entries, prompt, each)];
      if (output && node?.comfyClass === prompt[each].class_type) show(node, output);
    }
  });
}
