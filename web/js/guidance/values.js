// Strengths to try, and where a strength lies among those that were tried. Without a page.

const USUAL = { posterior: 0.02, forward: 0.1, autograd: 0.1 }; // in relative units, as the tooltip of strength says

// Five values from 0 to twice the present one; around the usual one where the present is 0.
export function valuesAround(strength, mode, units, { min, max }) {
  const usual = units === "raw" ? 1 : (USUAL[mode] ?? 0.02);
  const middle = strength || usual;
  const values = [0, 0.5, 1, 1.5, 2].map((factor) => tidy(Math.max(min, Math.min(max, factor * middle))));
  return [...new Set(values)].sort((a, b) => a - b);
}

export const tidy = (value) => Number(value.toPrecision(3));

// A place on the strip, 0 to count - 1, of a value; the ends for values beyond them.
export function placeOf(values, value) {
  const last = values.length - 1;
  if (value <= values[0]) return 0;
  for (let i = 0; i < last; i += 1) {
    if (value <= values[i + 1]) return i + (value - values[i]) / (values[i + 1] - values[i]);
  }
  return last;
}

export function valueAtPlace(values, place) {
  const left = Math.max(0, Math.min(values.length - 1, Math.floor(place)));
  const right = Math.min(values.length - 1, left + 1);
  return tidy(values[left] + (place - left) * (values[right] - values[left]));
}

// Which two pictures to show at a place, and how much of the second.
export function mixAt(count, place) {
  const left = Math.max(0, Math.min(count - 1, Math.floor(place)));
  return { left, right: Math.min(count - 1, left + 1), share: Math.max(0, Math.min(1, place - left)) };
}
