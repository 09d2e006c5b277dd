// Numbers for drawing, without a page: scales, ticks, bins, nearest points, bands. Values that are no finite number are null.

const LOG_FROM = 20; // times the least value: beyond it a linear axis would hide the small ones

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// From [low, high] to [start, end]. `of` is where a value lies, `at` the value that lies there.
export function linear([low, high], [start, end]) {
  const span = high - low || 1;
  const length = end - start || 1;
  return {
    of: (value) => start + ((value - low) / span) * (end - start),
    at: (position) => low + ((position - start) / length) * (high - low),
    domain: [low, high],
  };
}

// low must be above 0.
export function logarithmic([low, high], range) {
  const inner = linear([Math.log(low), Math.log(high)], range);
  return { of: (value) => inner.of(Math.log(value)), at: (position) => Math.exp(inner.at(position)), domain: [low, high], log: true };
}

// Of scores: logarithmic where they are positive and span much, else linear, from 0 where they are positive.
export function scoreScale(values, range) {
  const [low, high] = extent(values);
  if (low > 0 && high > LOG_FROM * low) return logarithmic([low, high], range);
  return linear([Math.min(0, low), Math.max(high, Math.min(0, low) + Number.MIN_VALUE)], range);
}

// [least, greatest] of the numbers among the values; [0, 1] where there is none.
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!isNumber(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : [low, high];
}

// Round values inside of [low, high], about `count` of them.
export function ticks(low, high, count = 4) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const LONGEST = 7; // signs that axes have room for

// Three digits, as people read them; with an exponent where that would be long.
export function short(value) {
  if (!isNumber(value)) return "–";
  const rounded = Number(value.toPrecision(3));
  const text = rounded.toString();
  return text.length > LONGEST ? rounded.toExponential() : text;
}

// How many values fall into each of `count` bins of equal width between low and high; the last bin holds its upper edge too.
export function histogram(values, count, [low, high] = extent(values)) {
  const counts = new Array(count).fill(0);
  const span = high - low || 1;
  for (const value of values) {
    if (!isNumber(value) || value < low || value > high) continue;
    counts[Math.min(count - 1, Math.floor(((value - low) / span) * count))] += 1;
  }
  return { counts, edges: Array.from({ length: count + 1 }, (_, i) => low + (span * i) / count) };
}

// Linear between neighbours, as numpy's; null where there is no number.
export function percentiles(values, percents) {
  const sorted = Float64Array.from(values.filter(isNumber)).sort(); // several times faster than of a list
  return percents.map((percent) => {
    if (!sorted.length) return null;
    const position = (percent / 100) * (sorted.length - 1);
    const below = Math.floor(position);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
  });
}

// Index of the curve that passes nearest to (x, y), and its distance; each curve is a list of [x, y]. -1 where all are farther than `reach`.
export function nearestCurve(curves, x, y, reach = Infinity) {
  let best = { index: -1, distance: reach };
  curves.forEach((points, index) => {
    for (let i = 0; i < points.length; i += 1) {
      const distance = toSegment(x, y, points[Math.max(0, i - 1)], points[i]);
      if (distance < best.distance) best = { index, distance };
    }
  });
  return best;
}

export function toSegment(x, y, [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const along = length ? Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length)) : 0;
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
}

// The box {x, y, width, height} that a point is in; -1 outside of all.
export const hitBox = (boxes, x, y) =>
  boxes.findIndex((box) => x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height);

export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
