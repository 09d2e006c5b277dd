import assert from "node:assert/strict";
import { test } from "node:test";

import { answer, begin, clock, layout, press } from "../../../web/js/review/state.js";

const IMAGES = [4, 7, 2, 0, 9].map((index, i) => ({ index, accepted: i < 3 }));
const after = (keys, columns = 2) => keys.reduce((state, key) => press(state, key, columns) ?? state, begin(IMAGES));

test("it begins with what the rule decided", () => {
  assert.deepEqual(answer(IMAGES, begin(IMAGES)), { accepted: [4, 7, 2], rejected: [0, 9] });
});

test("arrows move, and stop at the ends", () => {
  assert.equal(after(["ArrowRight", "ArrowRight"]).at, 2);
  assert.equal(after(["ArrowLeft"]).at, 0);
  assert.equal(after(["ArrowDown", "ArrowDown"]).at, 4);
  assert.equal(after(["ArrowDown", "ArrowDown", "ArrowDown"]).at, 4); // there is no row below
  assert.equal(after(["ArrowUp"]).at, 0);
  assert.equal(after(["End"]).at, 4);
  assert.equal(after(["End", "Home"]).at, 0);
});

test("digits turn an image over, and go to it", () => {
  const state = after(["4", "1"]);
  assert.deepEqual(answer(IMAGES, state), { accepted: [7, 2, 0], rejected: [4, 9] });
  assert.equal(state.at, 0);
  assert.deepEqual(after(["9"]), begin(IMAGES)); // there is no ninth
});

test("letters decide on the image with the focus, in either case", () => {
  assert.deepEqual(answer(IMAGES, after(["r", "End", "A"])), { accepted: [7, 2, 9], rejected: [4, 0] });
});

test("space zooms, escape goes back, and then leaves it to the rule", () => {
  assert.equal(after([" "]).zoomed, true);
  assert.equal(after([" ", "ArrowDown"]).at, 1); // one at a time
  assert.deepEqual([after([" ", "Escape"]).zoomed, after([" ", "Escape"]).ending], [false, null]);
  assert.equal(after(["Escape"]).ending, "leave");
  assert.equal(after(["Enter"]).ending, "answer");
  assert.equal(after(["h"]).heat, true);
  assert.equal(press(begin(IMAGES), "F5"), null);
});

test("pictures are as large as the room allows, and all in it", () => {
  for (const [count, shape] of [[1, 1], [2, 1.5], [5, 0.66], [9, 1], [12, 1.78]]) {
    const { columns, width } = layout(count, shape, 1500, 700, { gap: 12, words: 40, least: 10 });
    const rows = Math.ceil(count / columns);
    assert.ok(columns * width + (columns - 1) * 12 <= 1500);
    assert.ok(rows * (width / shape + 40) + (rows - 1) * 12 <= 700 + rows);
    for (let other = 1; other <= count; other += 1) {
      const fits = Math.min((1500 - 12 * (other - 1)) / other, ((700 - 12 * (Math.ceil(count / other) - 1)) / Math.ceil(count / other) - 40) * shape);
      assert.ok(width >= Math.floor(fits));
    }
  }
  assert.equal(layout(200, 1, 1500, 700).width, 170); // too many: they scroll
});

test("the clock", () => {
  assert.deepEqual([clock(65), clock(0.2), clock(-3), clock(Infinity)], ["1:05", "0:01", "0:00", ""]);
});
