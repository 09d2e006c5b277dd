// A sweep as a prompt of its own, made of the present graph: only what leads to one picture, once for each strength. Without a page.

export const PREVIEW = "uq_sweep_preview";
const VALUES = "uq_sweep_values";
const RENAMED = "uq_sweep_"; // so that the page's own nodes don't show what the sweep sends
const TAKES_ONE = ["latent_image"];

const isLink = (value) => Array.isArray(value) && value.length === 2;
const links = (node) => Object.values(node.inputs).filter(isLink);

// prompt: in API format; id: of the node with the strength; values: the strengths; steps: the most that a sampler makes;
// typesOf(class): the types of a class's outputs. Throws an Error with a key of words.js where there is nothing to show.
export function sweepPrompt(prompt, id, values, steps, typesOf) {
  if (!prompt[id]) throw new Error("notInPrompt");
  const behind = downstream(prompt, id);
  const picture = firstPicture(prompt, [...behind], typesOf);
  if (!picture) throw new Error("noPicture");
  const needed = upstream(prompt, picture[0]);
  const name = (each) => (behind.has(each) ? RENAMED + each : each);
  const made = {};
  for (const each of needed) made[name(each)] = copy(prompt[each], name, steps);
  const guided = made[name(id)].inputs;
  Object.assign(guided, { strength: [VALUES, 0], preset: "measured" });
  made[VALUES] = { class_type: "UQ_SweepValues", inputs: { values: values.join(", "), name: "strength" } };
  made[PREVIEW] = { class_type: "PreviewImage", inputs: { images: [name(picture[0]), picture[1]] } };
  return firstOfBatches(made);
}

// All that the node leads to, itself first, nearest first.
function downstream(prompt, id) {
  const reached = new Set([id]);
  for (const each of reached) {
    for (const [other, node] of Object.entries(prompt)) if (links(node).some(([from]) => String(from) === each)) reached.add(other);
  }
  return reached;
}

function upstream(prompt, id) {
  const reached = new Set([id]);
  for (const each of reached) for (const [from] of links(prompt[each] ?? { inputs: {} })) if (prompt[from]) reached.add(String(from));
  return reached;
}

function firstPicture(prompt, ids, typesOf) {
  for (const id of ids) {
    const slot = typesOf(prompt[id].class_type).indexOf("IMAGE");
    if (slot >= 0) return [id, slot];
  }
  return null;
}

function copy(node, name, steps) {
  const inputs = Object.entries(node.inputs).map(([key, value]) => {
    if (isLink(value)) return [key, [name(String(value[0])), value[1]]];
    return [key, key === "steps" && typeof value === "number" ? Math.min(value, steps) : value];
  });
  return { ...node, inputs: Object.fromEntries(inputs) };
}

// Samplers draw the first image of their batch alone, from the noise that it has in the batch.
function firstOfBatches(made) {
  for (const node of Object.values({ ...made })) {
    for (const key of TAKES_ONE) {
      const link = node.inputs[key];
      if (!isLink(link)) continue;
      const first = `${RENAMED}first_${link[0]}_${link[1]}`;
      made[first] = { class_type: "LatentFromBatch", inputs: { samples: link, batch_index: 0, length: 1 } };
      node.inputs[key] = [first, 0];
    }
  }
  return made;
}
