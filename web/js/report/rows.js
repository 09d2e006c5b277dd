// The table of a report as data, without a page.

import { isNumber } from "../shared/scales.js";

// One row an image: { image, score, rank, accepted: true, false, or null without a decision, picture }.
export const rowsOf = ({ scores, ranks, accepted, pictures }) =>
  scores.map((score, image) => ({
    image,
    score: isNumber(score) ? score : null,
    rank: ranks[image],
    accepted: accepted ? accepted.includes(image) : null,
    picture: pictures?.[image] ?? null,
  }));

// A new list by one column, up or down; what has no value is last either way, and equal ones stay in the order of the batch.
export function sorted(rows, column, isDown = false) {
  const sign = isDown ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [a[column], b[column]];
    if (x === y) return a.image - b.image;
    if (x === null || y === null) return x === null ? 1 : -1;
    return sign * (Number(x) - Number(y));
  });
}

// As the file that the node writes: core/view/summary.py, csv_table.
export const csv = (rows) =>
  ["image,score,rank,accepted", ...rows.map((r) => [r.image, r.score ?? "", r.rank, r.accepted === null ? "" : r.accepted ? "yes" : "no"].join(","))]
    .join("\n")
    .concat("\n");
