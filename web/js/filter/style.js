// How Sample Filter's panel looks, beside the theme.

export const STYLE = `
.uq .uq-drags { cursor: ew-resize; touch-action: none; }
.uq .uq-line { outline: none; }
.uq .uq-knob { fill: var(--fg-color, #ddd); stroke: var(--uq-back); stroke-width: 1; }
.uq .uq-drags .uq-line:hover .uq-knob, .uq .uq-line:focus-visible .uq-knob { stroke: var(--uq-focus); stroke-width: 2.5; }
.uq .uq-grip { stroke: var(--uq-back); stroke-width: 1; fill: none; }
.uq .uq-still .uq-knob, .uq .uq-still .uq-grip { display: none; }
.uq svg text.uq-line-value { fill: currentColor; font-weight: 600; }
.uq .uq-rug { stroke-width: 1.5; }
.uq .uq-rug.uq-on { stroke-width: 4; }
.uq .uq-headline { font-size: 14px; font-weight: 600; }
.uq .uq-pile { display: flex; flex-wrap: wrap; gap: 4px; margin: 2px 0 0; padding: 0; list-style: none; max-height: 206px; overflow-y: auto; }
.uq .uq-chip { position: relative; border: 2px solid var(--uq-good); border-radius: 5px; overflow: hidden; min-width: 30px; text-align: center;
  background-color: var(--uq-back); }
.uq .uq-chip.uq-dropped { fill: none; border-color: var(--uq-bad); border-style: dashed; }
.uq .uq-chip.uq-aside { border-color: var(--uq-soft); border-style: dotted; }
.uq .uq-chip.uq-dropped .uq-thumb { filter: brightness(0.6); }
.uq .uq-chip.uq-on { outline: 2px solid currentColor; outline-offset: 1px; }
.uq .uq-thumb { display: block; background-repeat: no-repeat; }
.uq .uq-tag { display: block; font-size: 10px; line-height: 15px; padding: 0 3px; }
.uq .uq-gap { align-self: stretch; width: 2px; background: currentColor; margin: 0 3px; border-radius: 1px; }
`;
