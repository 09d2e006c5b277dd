// Rules of the viewer's own, beside the common style sheet.
export const STYLE = `
.uq .uq-viewer { display: flex; flex-direction: column; gap: 6px; height: 100%; }
.uq .uq-viewer > * { flex: none; }
.uq .uq-viewer .uq-stage { flex: 1 1 0; min-height: 120px; display: flex; gap: 6px; border-radius: 6px; cursor: crosshair; touch-action: none; }
.uq .uq-pane { position: relative; flex: 1 1 0; min-width: 0; background: var(--uq-back); border-radius: 6px; overflow: hidden; }
.uq .uq-pane > img, .uq .uq-pane > canvas, .uq .uq-pane > svg { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain;
  pointer-events: none; user-select: none; }
.uq .uq-pane > .uq-name { position: absolute; left: 6px; top: 6px; max-width: calc(100% - 12px); padding: 1px 7px; border-radius: 9px;
  background: #000b; color: #fff; font-size: 11px; line-height: 1.35; overflow: hidden; overflow-wrap: anywhere; }
.uq .uq-pane > .uq-name.uq-value { top: auto; bottom: 6px; font-variant-numeric: tabular-nums; }
.uq .uq-pane > .uq-value:empty { display: none; }
.uq .uq-accepted > .uq-name:not(.uq-value)::before, .uq .uq-rejected > .uq-name:not(.uq-value)::before { content: ""; display: inline-block;
  width: 8px; height: 8px; border-radius: 50%; margin-right: 5px; background: var(--uq-good); }
.uq .uq-rejected > .uq-name:not(.uq-value)::before { border-radius: 1px; background: var(--uq-bad); }
.uq .uq-pane > p { position: absolute; inset: 0; display: grid; place-items: center; margin: 0; padding: 12px; text-align: center;
  color: var(--uq-soft); }
.uq .uq-outline { fill: none; vector-effect: non-scaling-stroke; stroke-linecap: round; }
.uq .uq-outline.uq-under { stroke: #000; stroke-opacity: 0.65; stroke-width: 3; }
.uq .uq-outline.uq-over { stroke: #fff; stroke-width: 1.3; }
.uq .uq-cross { stroke: #fff; stroke-width: 1; vector-effect: non-scaling-stroke; stroke-opacity: 0.9; mix-blend-mode: difference; }
.uq .uq-holding canvas, .uq .uq-holding svg { visibility: hidden; }
.uq .uq-readout { min-height: 2.9em; /* two lines, so that nothing jumps */ max-height: 2.9em; overflow: hidden; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.uq .uq-sliders { display: grid; grid-template-columns: max-content minmax(60px, 1fr) 4.2em; gap: 4px 10px; align-items: center; }
.uq .uq-sliders input { width: 100%; }
.uq .uq-sliders output { text-align: right; font-variant-numeric: tabular-nums; }
.uq .uq-select { font: inherit; color: inherit; background: var(--uq-back); border: 1px solid var(--uq-line); border-radius: 4px; padding: 1px 4px; }
`;
