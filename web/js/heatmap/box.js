// Where a picture lies that is fitted into a box in its own proportions, and where in it a point of the box is. Without a page.

export function fitted(width, height, aspect) {
  const wide = Math.min(width, height * aspect);
  const high = wide / aspect;
  return { left: (width - wide) / 2, top: (height - high) / 2, width: wide, height: high };
}

// [x, y] from 0 to 1 over the picture, or null beside it.
export function pointIn(box, aspect, x, y) {
  const picture = fitted(box.width, box.height, aspect);
  const point = [(x - box.left - picture.left) / picture.width, (y - box.top - picture.top) / picture.height];
  return point.every((part) => part >= 0 && part <= 1) ? point : null;
}

// [columns, rows] of that proportion, the longer of them `side`.
export const gridOf = (aspect, side) => (aspect >= 1 ? [side, Math.max(1, Math.round(side / aspect))] : [Math.max(1, Math.round(side * aspect)), side]);
