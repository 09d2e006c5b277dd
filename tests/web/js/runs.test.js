import assert from "node:assert/strict";
import test from "node:test";

import * as runs from "../../../web/js/live/runs.js";

const head = { of: 3, span: [0, 2], axis: "step", direction: "high_is_bad", limit: null, usual: null };
const run = (name, ...scores) => ({ ...head, run: name, steps: scores.map((each, place) => [place, 3 - place, each]) });

test("messages add up to one run, in whatever pieces they come", () => {
  const whole = run("a", [1, 2], [3, 4], [5, 6]);
  const part = (from, to) => ({ ...head, run: "a", from, steps: whole.steps.slice(from, to), done: false, node: "7" });
  const known = [part(0, 1), part(1, 3)].reduce(runs.merge, undefined);
  assert.deepEqual(known, whole);
  assert.deepEqual(runs.merge(known, part(1, 3)), whole);
  assert.deepEqual(runs.merge(known, { ...part(0, 1), run: "b" }).steps, whole.steps.slice(0, 1));
});

test("an image that is out has no points from there on", () => {
  assert.deepEqual(runs.seriesOf(run("a", [1, 2], [3, null])), [[[0, 1], [1, 3]], [[0, 2]]]);
  assert.deepEqual(runs.seriesOf(run("a")), []);
});

test("each attempt draws other images, and each of them is judged by itself", () => {
  const attempts = { ...run("a", [1, 4], [3, null], [2, 1]), axis: "attempt", limit: 2 };
  assert.deepEqual(runs.seriesOf(attempts), [[[0, 1, 0]], [[0, 4, 1]], [[1, 3, 0]], [], [[2, 2, 0]], [[2, 1, 1]]]);
  assert.deepEqual(runs.worseThanBand(attempts, []), [false, true, true, false, false, false]);
  assert.deepEqual(runs.worst(attempts), { image: 1, score: 4 });
});

test("earlier runs are remembered once each, the latest of them", () => {
  const many = Array.from({ length: 20 }, (_, i) => run(`${i}`)).reduce((known, each) => runs.remember(known, each), []);
  assert.deepEqual([many.length, many.at(-1).run], [runs.MOST_RUNS, "19"]);
  assert.equal(runs.remember(many, run("19", [1])).length, runs.MOST_RUNS);
});

test("the band holds most images of earlier runs of the same kind, and not the run itself", () => {
  const scores = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]; // numpy.percentile(scores, [10, 90]) = 1, 9
  const now = run("now", [20]);
  assert.deepEqual(runs.bandOf([run("a", scores.slice(0, 6)), run("b", scores.slice(6)), now], now), [[0, 1, 9]]);
  assert.deepEqual(runs.bandOf([run("a", scores.slice(0, 4))], now), []);
  assert.deepEqual(runs.bandOf([{ ...run("a", scores), of: 9 }], now), []);
});

test("an image is worse than the band on its bad side alone", () => {
  const band = [[0, 1, 9]];
  assert.deepEqual(runs.worseThanBand(run("now", [10, 0, 5, null]), band), [true, false, false, false]);
  assert.deepEqual(runs.worseThanBand({ ...run("now", [10, 0, 5]), direction: "low_is_bad" }, band), [false, true, false]);
  assert.deepEqual(runs.worseThanBand({ ...run("now", [10, 0]), limit: 0 }, band), [true, false]);
  assert.deepEqual(runs.worseThanBand(run("now", [10]), []), [false]);
  assert.deepEqual(runs.worseThanBand(run("now", [10, 5], [20, 20]), band), [true, false], "beyond the band the last that it reached counts");
});

test("the worst image is found by the direction of its score", () => {
  assert.deepEqual(runs.worst(run("a", [1, 5, null])), { image: 1, score: 5 });
  assert.deepEqual(runs.worst({ ...run("a", [1, 5]), direction: "low_is_bad" }), { image: 0, score: 1 });
  assert.deepEqual(runs.worst(run("a")), { image: -1, score: null });
});

test("a calibration of the workflow knows the band, step by step and beside this tab's own runs", () => {
  const usual = { name: "portraits", count: 40 };
  const told = { ...run("a", [1], [5]), usual };
  told.steps[0].push([0.5, 2]);
  const earlier = Array.from({ length: 9 }, (_, i) => run(`e${i}`, [i], [i]));
  assert.deepEqual(runs.bandOf(earlier, told), [[0, 0.5, 2]]);
  told.steps[1].push([0.5, 3]);
  assert.deepEqual(runs.worseThanBand(told, runs.bandOf([], told)), [true]);
  const attempts = { ...run("b", [1]), axis: "attempt", usual };
  attempts.steps[0].push([0.5, 2]);
  assert.deepEqual(runs.bandOf([], attempts), [[0, 0.5, 2], [2, 0.5, 2]], "every attempt is compared with the same");
});
