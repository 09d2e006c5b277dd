// What a user sets for this pack in ComfyUI's settings, and the language that he has chosen there.

import { app } from "../../../../scripts/app.js";
import { palettes, usePalette } from "./theme.js";
import { sentence } from "./words.js";

export const LIVE = "Uncertainty.Live.Updates";
export const COLOURS = "Uncertainty.View.Colours";
export const REVIEW_TIMEOUT = "Uncertainty.Review.Timeout";

const SETTINGS = [
  {
    id: LIVE,
    name: "Draw curves while sampling",
    tooltip: "Nodes that measure draw the uncertainty of each image while it is sampled. Switched off, they draw it when they have finished.",
    type: "boolean",
    defaultValue: true,
  },
  {
    id: COLOURS,
    name: "Colours of charts",
    tooltip: "Each pair can be told apart by people who are colour-blind.",
    type: "combo",
    options: Object.keys(palettes),
    defaultValue: Object.keys(palettes)[0],
    onChange: (name) => usePalette(name),
  },
  {
    id: REVIEW_TIMEOUT,
    name: "Seconds to wait for a review",
    tooltip: "How long a run waits after your last key or click in a review, where the node's review_seconds is 0. Then the node's unanswered says what becomes of the images. 0 waits for as long as the page is open.",
    type: "number",
    attrs: { min: 0, max: 86400 },
    defaultValue: 120,
  },
];

export function setting(id) {
  const value = app.extensionManager?.setting?.get(id) ?? app.ui?.settings?.getSettingValue?.(id);
  return value ?? SETTINGS.find((each) => each.id === id)?.defaultValue;
}

export const language = () => setting("Comfy.Locale") || "en";

// say = speaker(texts); say("key", { name: value }). The language is read each time, since it may be changed while the page is open.
export const speaker =
  (texts) =>
  (key, values) =>
    sentence(texts, language(), key, values);

app.registerExtension({ name: "uncertaintynodes.Settings", settings: SETTINGS });
