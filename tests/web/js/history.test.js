import assert from "node:assert/strict";
import test from "node:test";

import { lastOf, newestFirst, sameAs } from "../../../web/js/shared/history.js";

const sampler = (seed, model = ["1", 0]) => ({ class_type: "Sampler", inputs: { seed, model } });
const loader = (file) => ({ class_type: "Loader", inputs: { file } });

function entry(nodes, outputs, { client = "me", workflow = "w", number = 1 } = {}) {
  const extra = { client_id: client, extra_pnginfo: { workflow: { id: workflow } } };
  return { prompt: [number, `p${number}`, nodes, extra, []], outputs };
}

const ours = { client: "me", workflow: "w" };

test("the last run of this page and workflow is found, and no other's", () => {
  const nodes = { 1: loader("a"), 2: sampler(1) };
  const history = {
    z: entry(nodes, { 2: "first" }),
    a: entry(nodes, { 2: "second" }),
    m: entry(nodes, { 2: "another page" }, { client: "you" }),
    b: entry(nodes, { 2: "another workflow" }, { workflow: "v" }),
    k: entry(nodes, {}),
  };
  assert.equal(lastOf(newestFirst(history), ours, "2", "Sampler"), "second");
  assert.equal(lastOf(newestFirst(history), ours, "2", "Report"), undefined, "the id was another node then");
  assert.equal(lastOf(newestFirst(history), ours, "3", "Sampler"), undefined);
  assert.equal(lastOf([{ prompt: [1, "p", nodes, null, []], outputs: { 2: "no page" } }], ours, "2", "Sampler"), undefined);
});

test("what made the same is found through all that leads to it", () => {
  const entries = [
    entry({ 1: loader("b"), 2: sampler(1) }, { 2: "another model" }),
    entry({ 1: loader("a"), 2: sampler(2) }, { 2: "another seed" }),
    entry({ 1: loader("a"), 2: sampler(1), 9: loader("c") }, { 2: "the same" }),
  ];
  assert.equal(sameAs(entries, { 1: loader("a"), 2: sampler(1) }, "2"), "the same");
  assert.equal(sameAs(entries, { 1: loader("a"), 2: { class_type: "Sampler", inputs: { seed: 1 } } }, "2"), undefined);
  assert.equal(sameAs(entries, { 2: sampler(1) }, "2"), undefined, "its model is missing");
});

test("a copy of a node makes what the first one has made", () => {
  const made = entry({ 1: loader("a"), 2: sampler(1) }, { 2: "the same" });
  const copied = { 1: loader("a"), 2: sampler(1), 8: loader("a"), 9: sampler(1, ["8", 0]), 10: sampler(1, ["8", 1]) };
  assert.equal(sameAs([made], copied, "9"), "the same");
  assert.equal(sameAs([made], copied, "10"), undefined, "another output of its model");
});

test("a prompt whose links go in a circle ends", () => {
  const nodes = { 1: sampler(1, ["2", 0]), 2: sampler(1, ["1", 0]) };
  assert.equal(sameAs([entry(nodes, { 1: "round" })], nodes, "1"), "round");
});
