import assert from "node:assert/strict";
import test from "node:test";

import { csv, rowsOf, sorted } from "../../../web/js/report/rows.js";

const report = { scores: [0.5, null, 0.25, 0.5], ranks: [2, 4, 1, 3], accepted: [2, 0] };
const images = (rows) => rows.map((row) => row.image);

test("each image has a row, with its decision where there is one", () => {
  assert.deepEqual(rowsOf(report)[2], { image: 2, score: 0.25, rank: 1, accepted: true, picture: null });
  assert.deepEqual(rowsOf({ ...report, accepted: null, pictures: ["a", "b", "c", "d"] })[1], {
    image: 1,
    score: null,
    rank: 4,
    accepted: null,
    picture: "b",
  });
});

test("rows are sorted by any column, those without a value last either way", () => {
  const rows = rowsOf(report);
  assert.deepEqual(images(sorted(rows, "score")), [2, 0, 3, 1]);
  assert.deepEqual(images(sorted(rows, "score", true)), [0, 3, 2, 1]);
  assert.deepEqual(images(sorted(rows, "accepted", true)), [0, 2, 1, 3]);
  assert.deepEqual(images(sorted(rows, "image", true)), [3, 2, 1, 0]);
  assert.deepEqual(images(rows), [0, 1, 2, 3]);
});

test("the table is copied as the node writes it", () => {
  assert.equal(csv(rowsOf(report)), "image,score,rank,accepted\n0,0.5,2,yes\n1,,4,no\n2,0.25,1,yes\n3,0.5,3,no\n");
  assert.equal(csv(rowsOf({ ...report, accepted: null })).split("\n")[1], "0,0.5,2,");
});
