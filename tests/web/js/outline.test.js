import assert from "node:assert/strict";
import test from "node:test";

import { outline, outlinePath } from "../../../web/js/heatmap/outline.js";
import { commonEnds, kindsOf, pairsOf, turn } from "../../../web/js/heatmap/pairs.js";

const plane = (width, height, values) => ({ width, height, values: Float32Array.from(values) });

// Twice the area that the segments go around, by the shoelace formula: they all turn the same way.
const area = (segments) => Math.abs(segments.reduce((sum, [x1, y1, x2, y2]) => sum + x1 * y2 - x2 * y1, 0) / 2);

// Every end is where another segment begins: the line is closed.
function isClosed(segments) {
  const key = (x, y) => `${x.toFixed(9)},${y.toFixed(9)}`;
  const starts = segments.map(([x, y]) => key(x, y)).sort();
  const stops = segments.map(([, , x, y]) => key(x, y)).sort();
  return starts.every((start, i) => start === stops[i]);
}

test("one pixel above gives a diamond around its centre", () => {
  const segments = outline(plane(3, 3, [0, 0, 0, 0, 1, 0, 0, 0, 0]), 0.5);
  assert.equal(segments.length, 4);
  assert.ok(isClosed(segments));
  for (const [x1, y1] of segments) assert.ok(Math.abs(Math.abs(x1 - 0.5) + Math.abs(y1 - 0.5) - 1 / 6) < 1e-9);
});

test("a disc has the area of a disc, and the line lies where the value is", () => {
  const side = 64;
  const values = Array.from({ length: side * side }, (_, i) => -Math.hypot((i % side) + 0.5 - side / 2, Math.floor(i / side) + 0.5 - side / 2));
  const segments = outline(plane(side, side, values), -20);
  assert.ok(isClosed(segments));
  assert.ok(Math.abs(area(segments) / ((Math.PI * 20 ** 2) / side ** 2) - 1) < 0.01);
  for (const [x, y] of segments) assert.ok(Math.abs(Math.hypot(x - 0.5, y - 0.5) * side - 20) < 0.1);
});

test("random fields have closed outlines, also at the edge", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 30; i += 1) {
    const [width, height] = [1 + Math.floor(random() * 7), 1 + Math.floor(random() * 7)];
    assert.ok(isClosed(outline(plane(width, height, Array.from({ length: width * height }, random)), 0.5)));
  }
});

test("nothing above has no outline, all has the frame", () => {
  assert.deepEqual(outline(plane(2, 2, [1, 1, 1, 1]), 2), []);
  assert.equal(area(outline(plane(2, 2, [1, 1, 1, 1]), -Infinity)), 1);
  assert.equal(outlinePath([[0, 0.5, 1, 0.25]], 100), "M0.0 50.0L100.0 25.0");
});

const pages = (...verdicts) => verdicts.map((accepted, index) => ({ index, accepted }));

test("pictures are paired by index, accepted with rejected by order", () => {
  const main = pages(true, false, true);
  const other = [{ index: 2 }, { index: 0 }];
  const indexes = (pairs) => pairs.map((pair) => pair.map((page) => page?.index));
  assert.deepEqual(indexes(pairsOf("none", main)), [[0], [1], [2]]);
  assert.deepEqual(indexes(pairsOf("other", main, other)), [[0, 0], [1, undefined], [2, 2]]);
  assert.deepEqual(indexes(pairsOf("last", main, other, main)), [[0, 0], [1, 1], [2, 2]]);
  assert.deepEqual(indexes(pairsOf("verdict", main)), [[0, 1], [2, undefined]]);
  assert.deepEqual(indexes(pairsOf("verdict", pages(false))), [[undefined, 0]]);
});

test("only what there is can be compared with", () => {
  assert.deepEqual(kindsOf([{ accepted: null }], null, null), ["none"]);
  assert.deepEqual(kindsOf(pages(true), [], []), ["none", "other", "verdict", "last"]);
});

test("a pair shares the ends of its colours, but for failed images", () => {
  assert.deepEqual(commonEnds([{ ends: [1, 2] }, { ends: [0, 1.5] }]), [0, 2]);
  assert.deepEqual(commonEnds([{ ends: [1, 2] }, { ends: [9, 9], failed: true }, undefined]), [1, 2]);
  assert.deepEqual(commonEnds([null]), [0, 1]);
});

test("pages turn around at both ends", () => assert.deepEqual([turn(0, -1, 3), turn(2, 1, 3), turn(0, 1, 0)], [2, 0, 0]));
