// Elements in one call. Texts go in as text nodes, so that what a user named something is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Attributes that are null, undefined or false are left out; one that is a function listens to the event of its name: { click: stop }.
export function fill(element, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A button that the canvas below doesn't take for a drag.
export function button(label, onClick, attributes = {}) {
  const element = html("button", { type: "button", class: "uq-button", ...attributes, click: onClick }, label);
  element.addEventListener("pointerdown", (event) => event.stopPropagation());
  return element;
}

// How much of its track a slider has behind it.
export function fillTrack(slider) {
  const share = (slider.value - slider.min) / (slider.max - slider.min || 1);
  slider.style.setProperty("--uq-part", `${(100 * share).toFixed(1)}%`);
}
