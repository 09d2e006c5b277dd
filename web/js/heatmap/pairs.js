// Which pictures stand side by side, without a page.

// kind: "none", "other" (what is wired to compare), "verdict" (accepted beside rejected) or "last" (the run before).
// Gives pairs of pages of the sides { main, other, last }; a partner that is missing is null.
export function pairsOf(kind, main, other, last) {
  if (kind === "verdict") {
    const of = (accepted) => main.filter((page) => page.accepted === accepted);
    return zip(of(true), of(false));
  }
  if (kind === "none") return main.map((page) => [page]);
  const partners = (kind === "other" ? other : last) ?? [];
  const byIndex = new Map(partners.map((page) => [page.index, page]));
  return main.map((page) => [page, byIndex.get(page.index) ?? null]);
}

export function kindsOf(main, other, last) {
  const verdicts = main.some((page) => page.accepted !== null && page.accepted !== undefined);
  return ["none", ...(other ? ["other"] : []), ...(verdicts ? ["verdict"] : []), ...(last ? ["last"] : [])];
}

function zip(left, right) {
  const length = Math.max(left.length, right.length);
  return Array.from({ length }, (_, i) => [left[i] ?? null, right[i] ?? null]);
}

// The two ends that all of a pair are coloured between, so that its colours compare.
export function commonEnds(planes) {
  const sound = planes.filter((plane) => plane && !plane.failed);
  if (!sound.length) return [0, 1];
  return [Math.min(...sound.map((plane) => plane.ends[0])), Math.max(...sound.map((plane) => plane.ends[1]))];
}

export const turn = (place, by, count) => (count ? (((place + by) % count) + count) % count : 0);
