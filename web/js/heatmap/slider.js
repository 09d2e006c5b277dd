// A slider with its name and its value, in a grid of three columns.

import { fillTrack, html } from "../shared/dom.js";

let number = 0;

export function addSlider(grid, label, { min, max, step }, onInput) {
  const id = `uq-slider-${(number += 1)}`;
  const input = html("input", { type: "range", id, min, max, step, input: () => onInput(Number(input.value)) });
  const output = html("output", { for: id });
  grid.append(html("label", { for: id }, label), input, output);
  return {
    input,
    show(value, words, disabled) {
      input.value = value;
      fillTrack(input);
      input.disabled = disabled; // the value comes over a link
      output.textContent = words;
    },
  };
}
