// A map of uncertainty as numbers, without a page: reading its values, its colours, and the outline of what lies above a value.

const LEVELS = 65535;
const ROUNDING = 1e-5; // as in core/view/heatmap.py: smaller differences are none

// Of one picture's plane, as the node sends it: { width, height, values (row after row), low, high, ends, failed }.
export function readPlane(levels, place, { width, height }, page) {
  const size = width * height;
  const values = new Float32Array(size);
  const step = (page.high - page.low) / LEVELS;
  for (let i = 0; i < size; i += 1) values[i] = page.low + step * levels[place * size + i];
  return { width, height, values, low: page.low, high: page.high, ends: page.ends, failed: page.failed };
}

// The value at (x, y), each from 0 to 1 over the picture: bilinear between the centres of the map's pixels, as torch enlarges it.
export function valueAt({ width, height, values }, x, y) {
  const [column, row] = [inside(x * width - 0.5, width), inside(y * height - 0.5, height)];
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const [right, below] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const across = column - left;
  const upper = values[top * width + left] * (1 - across) + values[top * width + right] * across;
  const lower = values[below * width + left] * (1 - across) + values[below * width + right] * across;
  return upper + (row - top) * (lower - upper);
}

const inside = (position, length) => Math.max(0, Math.min(length - 1, position));

// The map enlarged to columns x rows pixels, as a plane of its own.
export function enlarge(plane, columns, rows) {
  const values = new Float32Array(columns * rows);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      values[row * columns + column] = valueAt(plane, (column + 0.5) / columns, (row + 0.5) / rows);
    }
  }
  return { ...plane, width: columns, height: rows, values };
}

// "000004 040312 ..." -> rows of [red, green, blue].
export const readColours = (words) => words.split(" ").map((word) => [0, 2, 4].map((at) => parseInt(word.slice(at, at + 2), 16)));

// From 0 (sure) to 1 (unsure), as the node normalises; all is 1 where an image failed.
export function heatOf(value, [low, high], failed = false) {
  if (failed) return 1;
  const slack = ROUNDING * Math.max(Math.abs(low), Math.abs(high));
  if (high - low <= slack) return value > high + slack ? 1 : 0;
  return Math.max(0, Math.min(1, (value - low) / (high - low)));
}

// Pixels in colours, as ImageData wants them.
export function paint({ values, failed }, ends, colours) {
  const pixels = new Uint8ClampedArray(values.length * 4);
  const last = colours.length - 1;
  for (let i = 0; i < values.length; i += 1) {
    const position = heatOf(values[i], ends, failed) * last;
    const below = Math.min(Math.floor(position), Math.max(0, last - 1));
    const [from, to] = [colours[below], colours[Math.min(below + 1, last)]];
    for (let channel = 0; channel < 3; channel += 1) pixels[4 * i + channel] = from[channel] + (position - below) * (to[channel] - from[channel]);
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}

export const sortedValues = ({ values }) => Float32Array.from(values).sort();

// The value that `percent` of all lie below, linear between neighbours.
export function quantile(sorted, percent) {
  const position = (percent / 100) * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

// What a pixel must exceed to be in the mask of that percentile; at 0 every pixel is in it.
export function maskLimit(sorted, percent) {
  if (percent <= 0) return -Infinity;
  const most = Math.max(Math.abs(sorted[0]), Math.abs(sorted[sorted.length - 1]));
  return quantile(sorted, percent) + ROUNDING * most;
}

// How many percent of the values lie below this one.
export function percentOf(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return (100 * low) / sorted.length;
}
