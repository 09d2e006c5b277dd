import assert from "node:assert/strict";
import test from "node:test";

import { compared, placesShown, reachOf, SIDES, usualSides } from "../../../web/js/live/compare.js";
import { bandAt, MOST_IMAGES, MOST_PLACES, remember, seriesOf, thinned } from "../../../web/js/live/runs.js";

const head = { of: 3, span: [0, 2], axis: "step", direction: "high_is_bad", limit: null, usual: null };
const run = (name, ...scores) => ({ ...head, run: name, steps: scores.map((each, place) => [place, 3 - place, each]) });
const band = [[0, 100, 140], [1, 1, 3], [2, 0.1, 0.2]];

test("a band is as wide everywhere, whatever the scores shrink to", () => {
  const now = run("now", [120, 140], [2, 5], [0.15, 0.1]);
  const shown = compared(seriesOf(now), usualSides(now, band));
  assert.deepEqual(shown.flat().map(([place]) => place), [0, 1, 2, 0, 1, 2]);
  assert.deepEqual(shown.map((points) => points.map(([, value]) => Number(value.toFixed(9)) + 0)), [[0, 0, 0], [1, 3, -1]]);
  assert.deepEqual(SIDES, [-1, 1]);
});

test("the axis holds the band and what is near it; what is far is drawn at its end", () => {
  const now = run("now", [1000, 120, -1000], [2, 2, 2]);
  const shown = compared(seriesOf(now), usualSides(now, band));
  assert.deepEqual(shown.map(([[, first]]) => first), [6, 0, -6]);
  assert.deepEqual(reachOf(shown), [-6, 6]);
  assert.deepEqual(reachOf([[[0, 0.5]], []]), [-2.5, 2.5]);
});

test("where all earlier images were alike, every other score is far", () => {
  const now = run("now", [2, 1, 3]);
  assert.deepEqual(compared(seriesOf(now), usualSides(now, [[0, 2, 2]])), [[[0, 0]], [[0, -6]], [[0, 6]]]);
});

test("nothing is compared where the band doesn't reach, nor where the run has its own limit", () => {
  const now = run("now", [1], [1], [1]);
  assert.deepEqual([...usualSides(now, band.slice(0, 2)).keys()], [0, 1]);
  assert.equal(usualSides(now, []), null);
  assert.equal(usualSides({ ...now, limit: 0 }, band), null);
  assert.equal(usualSides({ ...now, axis: "attempt" }, band), null);
  assert.equal(usualSides(now, band).size, 3);
});

test("the axis goes from where the band begins to the end of the run, or of the band", () => {
  const long = { ...run("now", [1], [1], [1], [1], [1]), span: [0, 9] };
  const shown = (known) => placesShown(long, usualSides(long, known));
  assert.deepEqual([shown([[1, 0, 1], [4, 0, 1]]), shown([[1, 0, 1], [3, 0, 1]]), shown([[2, 0, 1]])], [[1, 9], [1, 3], [2, 2]]);
});

test("a band lies between its places too, and nowhere beyond them", () => {
  const rough = [[2, 0, 4], [4, 2, 8]];
  assert.deepEqual([1, 2, 3, 3.5, 4, 5].map((place) => bandAt(rough, place)), [null, [0, 4], [1, 6], [1.5, 7], [2, 8], null]);
});

test("what is drawn and kept of a run is bounded, however long it is and however many images it has", () => {
  const long = run("long", ...Array.from({ length: 1000 }, (_, step) => Array.from({ length: 64 }, (_, image) => step + image)));
  const few = thinned(long);
  assert.ok(few.steps.length <= MOST_PLACES && few.steps.length > MOST_PLACES / 3);
  assert.deepEqual([few.steps[0], few.steps.at(-1)], [long.steps[0], long.steps.at(-1)]);
  assert.equal(thinned({ ...long, axis: "attempt" }).steps.length, 1000, "each attempt stands for itself");
  assert.equal(thinned(run("short", [1], [2])).steps.length, 2);
  const runs = Array.from({ length: 9 }, (_, i) => ({ ...long, run: `${i}` })).reduce((known, each) => remember(known, each), []);
  const values = runs.flatMap((each) => each.steps.flatMap(([, , scores]) => scores));
  assert.deepEqual(runs.map((each) => each.run), ["7", "8"]);
  assert.ok(values.length <= MOST_IMAGES * MOST_PLACES);
});
