// Whether what the server sends is meant for the workflow that is open. The host hands it to whichever node has the id by then, and nodes of
// two workflows may have the same. What comes from the server's cache names the workflow that it was first made in; then the run is asked for.

import { api } from "../../../../scripts/api.js";
import { locator, rootGraph } from "./nodes.js";

const NO_ID = "00000000-0000-0000-0000-000000000000"; // of a graph that came from a prompt
const confirmed = new Set(); // cached results that are meant for the workflow that shows them
let running = null; // the prompt whose messages are coming

const isSame = (workflow, open) => !workflow || workflow === NO_ID || workflow === open;
const workflowIn = (output) => output?.uq_workflow?.[0];
const key = (node, output) => `${rootGraph()?.id} ${locator(node)} ${workflowIn(output)}`;

// The id of the open workflow; undefined for a graph that has none of its own.
export function openWorkflow() {
  const id = rootGraph()?.id;
  return id && id !== NO_ID ? id : undefined;
}

// workflow: an id that a message names; what came over the API has none and is shown.
export const isOpen = (workflow) => isSame(workflow, rootGraph()?.id);

// The id of the workflow that a prompt in the form of /queue and /history was queued from.
export const workflowOf = (prompt) => prompt?.[3]?.extra_pnginfo?.workflow?.id;

// Whether an output that is known already may be shown.
export const isKnown = (node, output) => isOpen(workflowIn(output)) || confirmed.has(key(node, output));

// Whether an output that has just come is meant for the node. Gives the answer at once where the output itself tells.
export function isMeantFor(node, output) {
  if (isOpen(workflowIn(output))) return true;
  const [open, name] = [rootGraph()?.id, key(node, output)];
  return runningPrompt().then((prompt) => {
    const isMeant = Boolean(prompt) && isSame(workflowOf(prompt), open);
    confirmed[isMeant ? "add" : "delete"](name);
    return isMeant;
  });
}

async function runningPrompt() {
  const id = running;
  const { queue_running: now = [] } = await read("/queue");
  return now.find((prompt) => prompt[1] === id) ?? (await read(`/history/${id}`))[id]?.prompt;
}

async function read(route) {
  try {
    const reply = await api.fetchApi(route);
    return reply.ok ? await reply.json() : {};
  } catch {
    return {}; // the panel stays as it is
  }
}

api.addEventListener("execution_start", ({ detail }) => {
  running = detail?.prompt_id;
});
