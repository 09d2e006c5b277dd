// How our widgets look: one style sheet, made of ComfyUI's own colours, so that dark and light themes both fit.

import { html } from "./dom.js";

// Accepted, rejected, and a third colour for marks. Pairs that all kinds of colour vision tell apart, on dark and on light.
export const palettes = {
  "blue and orange": { good: "#3a9bd9", bad: "#e08a00", mark: "#cc79a7" },
  "teal and pink": { good: "#1b9e8a", bad: "#e0559a", mark: "#e08a00" },
  "high contrast": { good: "#4aa3ff", bad: "#ffb000", mark: "#ffffff" },
};

const SHEET = "uncertainty-theme";
const COLOURS = "uncertainty-colours";

const STYLE = `
.uq { box-sizing: border-box; width: 100%; height: 100%; overflow: auto; padding: 4px 8px; font: 12px/1.45 system-ui, sans-serif;
  color: var(--fg-color, #ddd); --uq-soft: var(--descrip-text, #999); --uq-line: var(--border-color, #555); --uq-back: var(--comfy-input-bg, #222);
  --uq-focus: var(--p-primary-color, #3a9bd9); scrollbar-width: thin; }
.uq *, .uq *::before { box-sizing: border-box; }
.uq p { margin: 0 0 4px; }
.uq .uq-soft { color: var(--uq-soft); }
.uq .uq-row { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; }
.uq .uq-row > .uq-push { margin-left: auto; }
.uq .uq-charts { display: flex; flex-wrap: wrap; gap: 4px 12px; }
.uq figure { margin: 0; flex: 1 1 180px; min-width: 0; max-width: 340px; }
.uq figcaption { color: var(--uq-soft); }
.uq svg { display: block; width: 100%; height: auto; overflow: visible; }
.uq svg text { fill: var(--uq-soft); font: 11px system-ui, sans-serif; }
.uq .uq-axis { stroke: var(--uq-line); fill: none; }
.uq .uq-grid { stroke: var(--uq-line); stroke-opacity: 0.4; fill: none; }
.uq .uq-band { fill: var(--uq-soft); fill-opacity: 0.22; stroke: none; }
.uq .uq-mark { stroke: currentColor; stroke-width: 2; }
.uq .uq-kept { fill: var(--uq-good); stroke: var(--uq-good); }
.uq .uq-dropped { fill: var(--uq-bad); stroke: var(--uq-bad); }
.uq rect.uq-kept, .uq rect.uq-dropped { stroke: none; }
.uq polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.uq polyline.uq-kept, .uq polyline.uq-dropped { fill: none; }
.uq polyline.uq-dropped { stroke-dasharray: 5 2; }
.uq .uq-lit polyline:not(.uq-on) { stroke-opacity: 0.25; }
.uq polyline.uq-on { stroke-width: 3.5; }
.uq .uq-swatch { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 4px; }
.uq .uq-swatch.uq-kept { background: var(--uq-good); }
.uq .uq-swatch.uq-dropped { background: var(--uq-bad); }
.uq summary { cursor: pointer; color: var(--uq-soft); }
.uq-button { font: inherit; color: inherit; background: var(--comfy-input-bg, #333); border: 1px solid var(--border-color, #555); border-radius: 4px;
  padding: 1px 8px; cursor: pointer; }
.uq-button:hover { border-color: currentColor; }
.uq-button:disabled { opacity: 0.5; cursor: default; }
.uq :focus-visible, .uq-button:focus-visible { outline: 2px solid var(--uq-focus, #3a9bd9); outline-offset: 1px; }
.uq input[type="range"] { appearance: none; height: 16px; margin: 0; background: none; cursor: pointer;
  --uq-track: linear-gradient(to right, var(--uq-good) var(--uq-part, 0%), var(--uq-line) 0); }
.uq input[type="range"]::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: var(--uq-track); }
.uq input[type="range"]::-moz-range-track { height: 4px; border-radius: 2px; background: var(--uq-track); }
.uq input[type="range"]::-webkit-slider-thumb { appearance: none; width: 16px; height: 16px; margin-top: -6px; border-radius: 50%; background: var(--uq-good); }
.uq input[type="range"]::-moz-range-thumb { width: 16px; height: 16px; border: none; border-radius: 50%; background: var(--uq-good); }
.uq input[type="range"]:disabled { opacity: 0.5; cursor: default; }
.uq table { border-collapse: collapse; width: 100%; }
.uq tr { border-bottom: 1px solid var(--uq-line); }
.uq td, .uq th { text-align: right; padding: 1px 6px; font-weight: normal; }
.uq .uq-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
[data-node-id]:has(.uq-without-picture) .image-preview { display: none; }
`;

// Adds the style sheet once, and further rules of a part of the front-end under a name of their own.
export function useTheme(name = SHEET, rules = STYLE) {
  if (name !== SHEET) useTheme();
  if (!document.getElementById(name)) document.head.append(html("style", { id: name }, rules));
  if (name === SHEET && !document.getElementById(COLOURS)) usePalette();
}

export function usePalette(name) {
  const { good, bad, mark } = palettes[name] ?? Object.values(palettes)[0];
  const rules = `:root { --uq-good: ${good}; --uq-bad: ${bad}; --uq-mark: ${mark}; }`;
  const sheet = document.getElementById(COLOURS);
  if (sheet) sheet.textContent = rules;
  else document.head.append(html("style", { id: COLOURS }, rules));
}
