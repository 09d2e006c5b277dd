// Small pictures of a sweep in a row, with a slider over them: dragging goes from one to the next.

import { fillTrack, html } from "../shared/dom.js";
import { short } from "../shared/scales.js";
import { address } from "../heatmap/pages.js";
import { placeOf, valueAtPlace } from "./values.js";

const FINE = 100; // places between two pictures

// onValue(strength): dragged or clicked.
export function makeStrip(label, onValue) {
  const row = html("div", { class: "uq-strip" });
  const slider = html("input", { type: "range", min: 0, step: 1, "aria-label": label });
  const element = html("div", { class: "uq-film", hidden: true }, row, slider);
  let values = [];
  slider.addEventListener("input", () => onValue(valueAtPlace(values, slider.value / FINE)));
  return {
    element,
    fill(strengths, files) {
      values = strengths;
      element.hidden = !files.length;
      slider.max = Math.max(0, (values.length - 1) * FINE);
      slider.style.setProperty("--uq-inset", `${50 / Math.max(1, values.length)}%`);
      row.replaceChildren(
        ...files.map((file, i) => {
          const image = html("img", { src: address(file), alt: "" });
          return html("button", { type: "button", class: "uq-frame", click: () => onValue(values[i]) }, image, html("span", {}, short(values[i])));
        }),
      );
    },
    set(value, disabled) {
      slider.value = Math.round(placeOf(values, value) * FINE);
      slider.disabled = disabled;
      fillTrack(slider);
      slider.setAttribute("aria-valuetext", short(value));
      const nearest = Math.round(slider.value / FINE);
      [...row.children].forEach((frame, i) => frame.classList.toggle("uq-near", i === nearest));
    },
  };
}
