import assert from "node:assert/strict";
import test from "node:test";

import * as scales from "../../../web/js/shared/scales.js";

test("a linear scale goes there and back, also downwards", () => {
  const up = scales.linear([2, 6], [100, 20]);
  assert.deepEqual([2, 4, 6].map(up.of), [100, 60, 20]);
  assert.deepEqual([100, 60, 20].map(up.at), [2, 4, 6]);
  assert.equal(scales.linear([3, 3], [0, 10]).of(3), 0);
});

test("equal factors are equal lengths on a logarithmic scale", () => {
  const scale = scales.logarithmic([1, 100], [0, 10]);
  assert.ok(Math.abs(scale.of(10) - 5) < 1e-12);
  assert.ok(Math.abs(scale.at(5) - 10) < 1e-9);
});

test("scores get a logarithmic axis where they span much and are positive", () => {
  assert.equal(scales.scoreScale([1, 30, null], [0, 1]).log, true);
  assert.deepEqual(scales.scoreScale([1, 2], [0, 1]).domain, [0, 2]);
  assert.deepEqual(scales.scoreScale([-3, 2], [0, 1]).domain, [-3, 2]);
  assert.ok(Number.isFinite(scales.scoreScale([0, 0], [0, 1]).of(0)));
});

test("the extent leaves out what is no number", () => {
  assert.deepEqual(scales.extent([null, 3, NaN, -1, Infinity, undefined]), [-1, 3]);
  assert.deepEqual(scales.extent([null]), [0, 1]);
});

test("ticks are round and inside", () => {
  assert.deepEqual(scales.ticks(0, 1, 4), [0, 0.5, 1]);
  assert.deepEqual(scales.ticks(0, 0.34, 3), [0, 0.2]);
  assert.deepEqual(scales.ticks(-3, 3, 3), [-2, 0, 2]);
  assert.deepEqual(scales.ticks(5, 5), [5]);
});

test("a histogram counts each number once, those at the edges too", () => {
  const { counts, edges } = scales.histogram([0, 0.9, 1, 2, null, NaN], 2);
  assert.deepEqual(counts, [2, 2]);
  assert.deepEqual(edges, [0, 1, 2]);
  assert.deepEqual(scales.histogram([5, 5], 3).counts, [2, 0, 0]);
  assert.equal(scales.histogram([7], 4, [0, 1]).counts.reduce((a, b) => a + b), 0);
});

test("percentiles are linear between neighbours", () => {
  const values = [4, 1, null, 3, 2]; // numpy.percentile([1, 2, 3, 4], [0, 10, 50, 100]) = 1, 1.3, 2.5, 4
  assert.deepEqual(scales.percentiles(values, [0, 10, 50, 100]).map((value) => Number(value.toFixed(9))), [1, 1.3, 2.5, 4]);
  assert.deepEqual(scales.percentiles([null], [50]), [null]);
});

test("the nearest curve is found by its segments, within reach", () => {
  const curves = [[[0, 0], [10, 0]], [[0, 5], [10, 5]], [[4, 4]]];
  assert.equal(scales.nearestCurve(curves, 5, 1).index, 0);
  assert.equal(scales.nearestCurve(curves, 9, 4).index, 1);
  assert.equal(scales.nearestCurve(curves, 4, 3.9).index, 2);
  assert.equal(scales.nearestCurve(curves, 5, 50, 8).index, -1);
  assert.equal(scales.nearestCurve([], 0, 0).index, -1);
});

test("the distance to a segment is that of its ends beyond them", () => {
  assert.equal(scales.toSegment(5, 3, [0, 0], [10, 0]), 3);
  assert.equal(scales.toSegment(13, 4, [0, 0], [10, 0]), 5);
  assert.equal(scales.toSegment(3, 4, [0, 0], [0, 0]), 5);
});

test("a box holds its left and upper edge, not the others", () => {
  const boxes = [{ x: 0, y: 0, width: 10, height: 10 }, { x: 10, y: 0, width: 10, height: 10 }];
  assert.equal(scales.hitBox(boxes, 10, 0), 1);
  assert.equal(scales.hitBox(boxes, 9.9, 9.9), 0);
  assert.equal(scales.hitBox(boxes, 5, 10), -1);
});

test("numbers are written in three digits", () => {
  assert.deepEqual([0.12345, 1234567, 2, -0.5, null, NaN].map(scales.short), ["0.123", "1230000", "2", "-0.5", "–", "–"]);
  assert.deepEqual([0.00012345, -0.0012345, 0.0002, 123456789, 1e-30].map(scales.short), ["1.23e-4", "-1.23e-3", "0.0002", "1.23e+8", "1e-30"]);
});
