// The outline of the pixels above a value: marching squares, with the world outside counted as below.

// Corners in order: upper left 1, upper right 2, lower right 4, lower left 8. Sides: top 0, right 1, bottom 2, left 3.
const CASES = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];

// Segments [x1, y1, x2, y2] in parts of the picture, 0 to 1.
export function outline({ width, height, values }, limit) {
  if (limit === -Infinity) return [[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 0, 0]];
  const segments = [];
  const high = (column, row) => {
    if (column < 0 || row < 0 || column >= width || row >= height) return -Infinity;
    return values[row * width + column];
  };
  for (let row = -1; row < height; row += 1) {
    for (let column = -1; column < width; column += 1) {
      const corners = [high(column, row), high(column + 1, row), high(column + 1, row + 1), high(column, row + 1)];
      const kind = corners.reduce((sum, value, i) => sum + (value > limit ? 1 << i : 0), 0);
      for (const [from, to] of CASES[kind]) {
        const [x1, y1] = crossing(from, corners, limit);
        const [x2, y2] = crossing(to, corners, limit);
        segments.push([part(column + x1, width), part(row + y1, height), part(column + x2, width), part(row + y2, height)]);
      }
    }
  }
  return segments;
}

// As the d of an SVG path in a box of size x size.
export function outlinePath(segments, size = 1000) {
  const at = (value) => (value * size).toFixed(1);
  return segments.map(([x1, y1, x2, y2]) => `M${at(x1)} ${at(y1)}L${at(x2)} ${at(y2)}`).join("");
}

// From the centre of a pixel to the picture; the border pixels reach to its edge.
const part = (position, length) => Math.max(0, Math.min(1, (position + 0.5) / length));

function crossing(side, corners, limit) {
  const [first, second] = [corners[side], corners[(side + 1) % 4]];
  const share = Number.isFinite(first) && Number.isFinite(second) ? (limit - first) / (second - first) : 0.5;
  if (side === 0) return [share, 0];
  if (side === 1) return [1, share];
  if (side === 2) return [1 - share, 1];
  return [0, 1 - share];
}
