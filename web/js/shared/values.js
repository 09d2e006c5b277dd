// The ordinary widgets of a node, read and set by what we draw, so that workflows hold plain values and nothing of ours.

import { app } from "../../../../scripts/app.js";
import { chain } from "./widget.js";

export const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);

// Whether the value comes over a link, so that what the widget holds doesn't count.
export const isLinked = (node, name) => node.inputs?.some((input) => input.name === name && input.link !== null && input.link !== undefined) ?? false;

// The widget's value; `otherwise` where it has none that counts.
export function valueOf(node, name, otherwise) {
  const value = widgetOf(node, name)?.value;
  return value === undefined || isLinked(node, name) ? otherwise : value;
}

export function setValue(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || isLinked(node, name) || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
}

// Calls back when a user, or we ourselves, have set one of the widgets.
export function watchValues(node, names, onChange) {
  for (const name of names) {
    const widget = widgetOf(node, name);
    if (widget) chain(widget, "callback", () => onChange(name));
  }
}

// { min, max, step } of a number, as its node declares it.
export function rangeOf(node, name, fallback) {
  const { min, max, step2 } = widgetOf(node, name)?.options ?? {};
  return { min: min ?? fallback.min, max: max ?? fallback.max, step: step2 || fallback.step };
}
