import assert from "node:assert/strict";
import { test } from "node:test";

import { decide, percentAt, scoreAt } from "../../../web/js/filter/decide.js";
import { domain, percentFor, sides, stepped, valueAt } from "../../../web/js/filter/line.js";

const BATCH = { scores: [0.4, 0.1, null, 0.3, 0.2], direction: "high_is_bad", extra: null, history: [0, 0.25, 0.5, 1] };
const accepted = (found) => found.passes.flatMap((passes, i) => (passes ? [i] : []));

test("each rule by hand", () => {
  assert.deepEqual(accepted(decide(BATCH, { rule: "keep_best_count", value: 2 })), [1, 4]);
  assert.deepEqual(accepted(decide(BATCH, { rule: "drop_worst_percent", value: 40 })), [1, 3, 4]);
  assert.deepEqual(accepted(decide(BATCH, { rule: "threshold", value: 0.3 })), [1, 3, 4]); // as float32, which lies above 0.3
  assert.deepEqual(accepted(decide(BATCH, { rule: "calibrated", value: 50 })), [1, 3, 4]);
  assert.equal(decide(BATCH, { rule: "from a later version", value: 50 }), null);
});

test("a failed image never passes", () => {
  for (const rule of ["keep_best_count", "drop_worst_percent", "threshold", "calibrated"]) {
    for (const value of [0, 5, 50, 100]) assert.equal(decide(BATCH, { rule, value }).passes[2], false);
  }
});

test("the line lies between the sides, and beyond them where one is empty", () => {
  const line = (value) => decide(BATCH, { rule: "keep_best_count", value }).line;
  assert.ok(Math.abs(line(2) - 0.25) < 1e-12);
  assert.ok(line(0) < 0.1 && line(0) > 0.09);
  assert.ok(line(5) > 0.4 && line(5) < 0.41);
  assert.equal(decide({ ...BATCH, scores: [null] }, { rule: "keep_best_count", value: 1 }).line, null);
});

test("percentiles go there and back", () => {
  for (const direction of ["high_is_bad", "low_is_bad"]) {
    for (const percent of [0, 10, 33, 50, 90, 100]) {
      const batch = { ...BATCH, direction };
      assert.ok(Math.abs(percentAt(batch, scoreAt(batch, percent)) - percent) < 1e-9);
    }
  }
  assert.equal(percentAt(BATCH, -1), 0);
  assert.equal(percentAt(BATCH, 9), 100);
});

test("a dragged line gives a value that puts the line back there", () => {
  for (const direction of ["high_is_bad", "low_is_bad"]) {
    const batch = { ...BATCH, direction };
    for (const rule of ["keep_best_count", "drop_worst_percent", "threshold", "calibrated"]) {
      const before = decide(batch, { rule, value: 50 });
      for (const position of [0.05, 0.15, 0.25, 0.35, 0.45]) {
        const value = valueAt(batch, before, rule, position);
        const wanted = BATCH.scores.flatMap((score, i) => {
          const good = direction === "high_is_bad" ? score <= position : score >= position;
          return score !== null && good ? [i] : [];
        });
        assert.deepEqual(accepted(decide(batch, { rule, value })), wanted, `${direction} ${rule} ${position}`);
      }
    }
  }
});

test("percentages are round, and reject just so many", () => {
  assert.equal(percentFor(1, 3), 34);
  assert.equal(percentFor(1, 4), 25);
  assert.equal(percentFor(0, 7), 0);
  assert.equal(percentFor(7, 7), 100);
  for (let size = 1; size < 200; size += 7) {
    for (let dropped = 0; dropped <= size; dropped += 1) {
      assert.equal(Math.trunc((size * percentFor(dropped, size)) / 100 + 1e-9), dropped);
    }
  }
});

test("keys move the line by an image, by a percent, or a little", () => {
  const move = (rule, value, steps) => stepped(BATCH, decide(BATCH, { rule, value }), rule, value, steps);
  assert.equal(move("keep_best_count", 2, 1), 3);
  assert.equal(move("keep_best_count", 0, -1), 0);
  assert.equal(move("drop_worst_percent", 40, 1), 20);
  assert.equal(move("calibrated", 100, 1), 100);
  assert.ok(move("threshold", 0.3, 1) > 0.3);
});

test("bars count every image once, and the axis has room beside them", () => {
  const found = decide(BATCH, { rule: "keep_best_count", value: 2 });
  const { edges, kept, dropped } = sides(found);
  assert.equal(edges.length, kept.length + 1);
  assert.deepEqual([kept, dropped].map((counts) => counts.reduce((a, b) => a + b)), [2, 2]);
  const [low, high] = domain(found, found.line);
  assert.ok(low < 0.1 && high > 0.4);
  assert.deepEqual(sides(decide({ ...BATCH, scores: [null] }, { rule: "keep_best_count", value: 1 })).edges, []);
});
