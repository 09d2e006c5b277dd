// Nodes by the ids that ComfyUI's server uses, and what the front-end remembers of their last run. Inside of subgraphs the server counts
// "5:3", node 3 in the subgraph that node 5 stands for; the front-end remembers by "<id of the subgraph>:3".

import { app } from "../../../../scripts/app.js";

export const rootGraph = () => app.rootGraph ?? app.graph?.rootGraph ?? app.graph;

// The node that an execution id names, or undefined. Ids of nodes that a node expanded into, "5.0.0.1", belong to the node in front.
export function findNode(executionId) {
  let [graph, node] = [rootGraph(), undefined];
  for (const part of String(executionId).split(":")) {
    const id = part.split(".")[0];
    node = graph?.nodes?.find((each) => String(each.id) === id);
    graph = node?.subgraph;
  }
  return node;
}

// The id that the server knows the node by, whose way to the root is looked for; null outside of the graph.
export function executionId(node, graph = rootGraph()) {
  for (const each of graph.nodes) {
    if (each === node) return String(node.id);
    const inner = each.subgraph && executionId(node, each.subgraph);
    if (inner) return `${each.id}:${inner}`;
  }
  return null;
}

export const locator = (node) => (node.graph && node.graph.isRootGraph === false ? `${node.graph.id}:${node.id}` : `${node.id}`);

export const rememberedOutput = (node) => app.nodeOutputs?.[locator(node)];
