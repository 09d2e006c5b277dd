import assert from "node:assert/strict";
import test from "node:test";

import { drawsPerEvaluation, effective, priceOf } from "../../../web/js/guidance/price.js";
import { PREVIEW, sweepPrompt } from "../../../web/js/guidance/prompt.js";
import { mixAt, placeOf, valueAtPlace, valuesAround } from "../../../web/js/guidance/values.js";

const RANGE = { min: -100, max: 100 };

test("strengths lie around the present one, from none to twice as much", () => {
  assert.deepEqual(valuesAround(0.02, "posterior", "relative", RANGE), [0, 0.01, 0.02, 0.03, 0.04]);
  assert.deepEqual(valuesAround(0, "forward", "relative", RANGE), [0, 0.05, 0.1, 0.15, 0.2]);
  assert.deepEqual(valuesAround(-1, "posterior", "raw", RANGE), [-2, -1.5, -1, -0.5, 0]);
  assert.deepEqual(valuesAround(80, "posterior", "raw", RANGE), [0, 40, 80, 100]);
});

test("a strength has its place among those that were tried, and back", () => {
  const values = [0, 0.01, 0.03];
  assert.deepEqual([-1, 0, 0.005, 0.01, 0.02, 0.03, 9].map((value) => placeOf(values, value)), [0, 0, 0.5, 1, 1.5, 2, 2]);
  assert.deepEqual([0, 0.5, 1, 1.5, 2, 7].map((place) => valueAtPlace(values, place)), [0, 0.005, 0.01, 0.02, 0.03, 0.03]);
  assert.deepEqual(mixAt(3, 1.25), { left: 1, right: 2, share: 0.25 });
  assert.deepEqual(mixAt(3, 2), { left: 2, right: 2, share: 0 });
});

test("a price counts the guided evaluations", () => {
  const evaluations = [[0, 0, 2, 0], [0.5, 0.5, 2, 2], [0.9, 0.9, 2, 2]];
  const settings = { strength: 0.1, samples: 3, mode: "posterior", start_percent: 0, end_percent: 0.6 };
  assert.deepEqual(priceOf(evaluations, settings), { plain: 6, guiding: 6, times: 2 });
  assert.equal(priceOf(evaluations, { ...settings, end_percent: 1 }).guiding, 12);
  assert.equal(priceOf(evaluations, { ...settings, strength: 0 }).times, 1);
  assert.equal(priceOf([], settings).times, 1);
  assert.equal(drawsPerEvaluation({ samples: 3, mode: "forward" }), 6);
});

test("the preset paper has values of its own", () => {
  const settings = { strength: 0.1, preset: "paper" };
  assert.equal(effective(settings, { strength: 1 }).strength, 1);
  assert.equal(effective(settings, undefined).strength, 0.1);
  assert.equal(effective({ ...settings, preset: "measured" }, { strength: 1 }).strength, 0.1);
});

const TYPES = { Loader: ["MODEL", "VAE"], Text: ["CONDITIONING"], Guidance: ["MODEL", "UQ_RECORD"], Empty: ["LATENT"], KSampler: ["LATENT"] };
Object.assign(TYPES, { VAEDecode: ["IMAGE"], Upscale: ["IMAGE"], SaveImage: [], UQ_ReadUncertainty: ["UNCERTAINTY"] });
const typesOf = (name) => TYPES[name];
const graph = () => ({
  1: { class_type: "Loader", inputs: { name: "x" } },
  2: { class_type: "Guidance", inputs: { model: ["1", 0], strength: 0.02, preset: "paper" } },
  3: { class_type: "Empty", inputs: { batch_size: 4 } },
  4: { class_type: "KSampler", inputs: { model: ["2", 0], positive: ["5", 0], latent_image: ["3", 0], steps: 30, seed: 7 } },
  5: { class_type: "Text", inputs: { text: "[1, 2]" } },
  6: { class_type: "VAEDecode", inputs: { samples: ["4", 0], vae: ["1", 1] } },
  7: { class_type: "Upscale", inputs: { image: ["6", 0] } },
  8: { class_type: "SaveImage", inputs: { images: ["7", 0] } },
  9: { class_type: "UQ_ReadUncertainty", inputs: { record: ["2", 1], latent: ["4", 0] } },
});

test("a sweep holds only what leads to the first picture, with the strengths in place of the strength", () => {
  const before = graph();
  const made = sweepPrompt(before, "2", [0, 0.02], 12, typesOf);
  assert.deepEqual(before, graph(), "the graph itself stays as it is");
  const classes = Object.values(made).map((node) => node.class_type).sort();
  assert.deepEqual(classes, ["Empty", "Guidance", "KSampler", "LatentFromBatch", "Loader", "PreviewImage", "Text", "UQ_SweepValues", "VAEDecode"]);
  assert.deepEqual(made.uq_sweep_2.inputs, { model: ["1", 0], strength: ["uq_sweep_values", 0], preset: "measured" });
  assert.equal(made.uq_sweep_values.inputs.values, "0, 0.02");
  assert.equal(made.uq_sweep_4.inputs.steps, 12);
  assert.deepEqual(made[made.uq_sweep_4.inputs.latent_image[0]].inputs, { samples: ["3", 0], batch_index: 0, length: 1 });
  assert.deepEqual(made[PREVIEW].inputs.images, ["uq_sweep_6", 0]);
  const ids = Object.keys(made);
  for (const node of Object.values(made)) {
    for (const value of Object.values(node.inputs)) if (Array.isArray(value)) assert.ok(ids.includes(value[0]), value[0]);
  }
});

test("fewer steps than the preview stay as they are", () => {
  const prompt = graph();
  prompt[4].inputs.steps = 3;
  assert.equal(sweepPrompt(prompt, "2", [0], 12, typesOf).uq_sweep_4.inputs.steps, 3);
});

test("what cannot be shown is told", () => {
  const prompt = graph();
  for (const id of ["6", "7", "8"]) delete prompt[id];
  assert.throws(() => sweepPrompt(prompt, "2", [0], 12, typesOf), /noPicture/);
  assert.throws(() => sweepPrompt(prompt, "44", [0], 12, typesOf), /notInPrompt/);
});
