// Rules of the stage's own, beside the common style sheet and the viewer's.
export const STYLE = `
.uq .uq-tune { display: flex; flex-direction: column; gap: 6px; height: 100%; }
.uq .uq-tune > * { flex: none; }
.uq .uq-tune > .uq-picture { flex: 1 1 0; min-height: 150px; }
.uq .uq-tune .uq-outline.uq-under { stroke-width: 2; }
.uq .uq-tune .uq-outline.uq-over { stroke-width: 0.9; }
.uq .uq-film { padding: 0 1px; }
.uq .uq-strip { display: flex; gap: 4px; }
.uq .uq-frame { flex: 1 1 0; min-width: 0; padding: 0 0 2px; border: 1px solid transparent; border-radius: 4px; background: var(--uq-back);
  color: var(--uq-soft); font: 11px system-ui, sans-serif; cursor: pointer; overflow: hidden; }
.uq .uq-frame > img { display: block; width: 100%; height: 44px; object-fit: contain; }
.uq .uq-frame.uq-near { border-color: var(--uq-good); color: inherit; }
.uq .uq-film > input { width: calc(100% - 2 * var(--uq-inset, 10%) + 16px); margin: 3px calc(var(--uq-inset, 10%) - 8px) 0; }
.uq .uq-steps { touch-action: none; }
.uq .uq-steps svg { max-height: 150px; }
.uq .uq-faint .uq-run { stroke: var(--uq-soft); stroke-opacity: 0.75; stroke-width: 1; }
.uq .uq-window { fill: var(--uq-good); fill-opacity: 0.28; pointer-events: none; }
.uq .uq-handle { cursor: ew-resize; }
.uq .uq-handle[data-drag="strength"] { cursor: ns-resize; }
.uq .uq-handle.uq-fixed { cursor: default; opacity: 0.4; }
.uq .uq-handle .uq-grip { stroke: transparent; fill: none; }
.uq .uq-handle .uq-line { stroke: var(--uq-good); stroke-width: 2; fill: none; stroke-linecap: round; }
.uq .uq-handle:hover .uq-line, .uq .uq-handle:focus-visible .uq-line { stroke-width: 4; }
.uq .uq-tune .uq-price { font-variant-numeric: tabular-nums; }
.uq .uq-tune .uq-trouble:not(.uq-soft) { color: var(--error-text, #f66); }
`;
