// What a node showed when it last ran, as the server's history has it. Without a page.
// A page that was loaded again has forgotten it, and early servers don't tell it again of a node whose result they have cached.

const isLink = (value) => Array.isArray(value) && value.length === 2;
const parts = ({ prompt: [, , nodes, extra] }) => ({ nodes, extra });

// Entries of /history, newest first.
export const newestFirst = (history) => Object.values(history).reverse();

// Of the last run of a workflow that a page has queued; undefined where there is none. id: as the server counts. kind: the node's class.
export function lastOf(entries, { client, workflow }, id, kind) {
  return entries.find((entry) => {
    const { nodes, extra } = parts(entry);
    const isOurs = extra?.client_id === client && extra?.extra_pnginfo?.workflow?.id === workflow;
    return isOurs && nodes[id]?.class_type === kind && entry.outputs?.[id];
  })?.outputs[id];
}

// Of the last node that made the same as a node of the prompt does: both and all that leads to them have the same inputs, as in the
// server's cache, which doesn't look at ids either.
export function sameAs(entries, prompt, id) {
  for (const entry of entries) {
    const found = Object.keys(entry.outputs ?? {}).find((other) => isAlike(parts(entry).nodes, other, prompt, id));
    if (found) return entry.outputs[found];
  }
  return undefined;
}

// Whether node `id` of one prompt makes what node `other` of another makes. seen: pairs on the way here, so that a circle ends.
function isAlike(nodes, id, others, other, seen = new Set()) {
  const [a, b, pair] = [nodes[id], others[other], `${id} ${other}`];
  if (seen.has(pair)) return true;
  seen.add(pair);
  if (!a || !b || a.class_type !== b.class_type || Object.keys(a.inputs).length !== Object.keys(b.inputs).length) return false;
  return Object.entries(a.inputs).every(([name, value]) => {
    const counterpart = b.inputs[name];
    if (!isLink(value) || !isLink(counterpart)) return JSON.stringify(value) === JSON.stringify(counterpart);
    return value[1] === counterpart[1] && isAlike(nodes, String(value[0]), others, String(counterpart[0]), seen);
  });
}
