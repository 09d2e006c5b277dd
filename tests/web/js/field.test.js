import assert from "node:assert/strict";
import test from "node:test";

import * as field from "../../../web/js/heatmap/field.js";
import { fitted, gridOf, pointIn } from "../../../web/js/heatmap/box.js";

const plane = (width, height, values, more = {}) => ({ width, height, values: Float32Array.from(values), ends: [0, 1], failed: false, ...more });
const near = (value, expected, margin = 1e-5) => assert.ok(Math.abs(value - expected) <= margin, `${value} is not ${expected}`);

test("a plane is read from its place in the file", () => {
  const read = field.readPlane(Uint16Array.of(9, 9, 0, 65535, 32768, 0), 1, { width: 2, height: 1 }, { low: -1, high: 3, ends: [0, 1] });
  assert.deepEqual([...read.values], [-1, 3]);
});

test("values between the centres of pixels are what torch's bilinear resize gives", () => {
  // torch.nn.functional.interpolate(torch.tensor([[[[0., 1.], [2., 5.]]]]), size=(4, 4), mode="bilinear")
  const expected = [0, 0.25, 0.75, 1, 0.5, 0.875, 1.625, 2, 1.5, 2.125, 3.375, 4, 2, 2.75, 4.25, 5];
  assert.deepEqual([...field.enlarge(plane(2, 2, [0, 1, 2, 5]), 4, 4).values], expected);
});

test("the same size is the identity, and one pixel is flat", () => {
  const values = [3, 1, 4, 1, 5, 9];
  assert.deepEqual([...field.enlarge(plane(3, 2, values), 3, 2).values], values);
  assert.deepEqual([...field.enlarge(plane(1, 1, [7]), 2, 2).values], [7, 7, 7, 7]);
});

test("heat goes from the low end to the high end, and a failed image is bright all over", () => {
  assert.deepEqual([-1, 2, 4, 6, 9].map((value) => field.heatOf(value, [2, 6])), [0, 0, 0.5, 1, 1]);
  assert.equal(field.heatOf(0, [2, 6], true), 1);
  assert.deepEqual([3, 4].map((value) => field.heatOf(value, [3, 3])), [0, 1]);
});

test("colours lie between those of the table", () => {
  const colours = field.readColours("000000 0000ff ff0000");
  const pixels = field.paint(plane(4, 1, [0, 0.25, 0.5, 1]), [0, 1], colours);
  assert.deepEqual([...pixels], [0, 0, 0, 255, 0, 0, 128, 255, 0, 0, 255, 255, 255, 0, 0, 255]);
});

test("quantiles are numpy's, and the mask takes what exceeds them", () => {
  // numpy.percentile([1, 2, 4, 8], [0, 10, 50, 90, 100])
  const sorted = field.sortedValues(plane(4, 1, [8, 2, 1, 4]));
  [[0, 1], [10, 1.3], [50, 3], [90, 6.8], [100, 8]].forEach(([percent, value]) => near(field.quantile(sorted, percent), value));
  assert.equal(field.maskLimit(sorted, 0), -Infinity);
  assert.ok(field.maskLimit(sorted, 100) > 8);
  const flat = field.sortedValues(plane(3, 1, [5, 5, 5]));
  assert.ok(field.maskLimit(flat, 50) > 5, "nothing stands out of a constant map");
});

test("how many percent lie below a value", () => {
  const sorted = Float32Array.of(1, 2, 4, 8);
  assert.deepEqual([0, 1, 3, 8, 9].map((value) => field.percentOf(sorted, value)), [0, 0, 50, 75, 100]);
});

test("a point is read in the picture, wherever it is fitted, and not beside it", () => {
  assert.deepEqual(fitted(200, 100, 1), { left: 50, top: 0, width: 100, height: 100 });
  assert.deepEqual(fitted(100, 200, 2), { left: 0, top: 75, width: 100, height: 50 });
  const box = { left: 10, top: 20, width: 200, height: 100 };
  assert.deepEqual(pointIn(box, 1, 110, 45), [0.5, 0.25]);
  assert.equal(pointIn(box, 1, 30, 45), null);
  assert.deepEqual([gridOf(2, 256), gridOf(0.5, 256), gridOf(1000, 256)], [[256, 128], [128, 256], [256, 1]]);
});
