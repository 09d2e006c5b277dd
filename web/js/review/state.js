// What a review is like and what keys do to it. No page needed.
// state: { at: the image that has the focus, accepted: [true, ...] as things stand, zoomed, heat, ending: null | "answer" | "leave" }

import { clamp } from "../shared/scales.js";

export const begin = (images) => ({ at: 0, accepted: images.map((image) => image.accepted), zoomed: false, heat: false, ending: null });

export const goTo = (state, at) => ({ ...state, at: clamp(at, 0, state.accepted.length - 1) });

export const decideOn = (state, at, accept) => ({ ...goTo(state, at), accepted: state.accepted.map((was, i) => (i === at ? accept : was)) });

export const toggle = (state, at) => decideOn(state, at, !state.accepted[at]);

// The state after a key, or null for a key that means nothing here. columns: how many images stand side by side.
export function press(state, key, columns = 1) {
  const row = state.zoomed ? 1 : columns;
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -Infinity, End: Infinity };
  if (key in moves) {
    const next = state.at + moves[key];
    const outside = Math.abs(moves[key]) > 1 && Number.isFinite(next) && (next < 0 || next >= state.accepted.length);
    return outside ? state : goTo(state, next);
  }
  if (/^[0-9]$/.test(key)) {
    const at = (Number(key) + 9) % 10; // 1 is the first, 0 the tenth
    return at < state.accepted.length ? toggle(state, at) : state;
  }
  switch (key.toLowerCase()) {
    case "a":
      return decideOn(state, state.at, true);
    case "r":
      return decideOn(state, state.at, false);
    case "h":
      return { ...state, heat: !state.heat };
    case " ":
      return { ...state, zoomed: !state.zoomed };
    case "enter":
      return { ...state, ending: "answer" };
    case "escape":
      return state.zoomed ? { ...state, zoomed: false } : { ...state, ending: "leave" };
    default:
      return null;
  }
}

// What is posted: the images' own indexes on either side.
export function answer(images, state) {
  const side = (wanted) => images.filter((_, i) => state.accepted[i] === wanted).map((image) => image.index);
  return { accepted: side(true), rejected: side(false) };
}

// Columns and size with which `count` pictures of a shape (width / height) are largest in a room; below `least` wide they scroll instead.
export function layout(count, shape, width, height, { gap = 12, words = 40, least = 170 } = {}) {
  let best = { columns: 1, width: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const across = (width - gap * (columns - 1)) / columns;
    const down = ((height - gap * (rows - 1)) / rows - words) * shape;
    const size = Math.floor(Math.min(across, down));
    if (size > best.width) best = { columns, width: size };
  }
  if (best.width >= least) return best;
  const columns = Math.max(1, Math.min(count, Math.floor((width + gap) / (least + gap))));
  return { columns, width: Math.floor(Math.min(Math.max(least, 1), width)) };
}

// "1:05"; "" where there is no limit.
export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
