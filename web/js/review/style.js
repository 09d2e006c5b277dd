// How the full-screen review looks, beside the theme.

export const STYLE = `
.uq-review { position: fixed; inset: 0; width: 100vw; height: 100vh; max-width: none; max-height: none; margin: 0; padding: 14px 20px 10px; border: 0;
  background: var(--bg-color, #202020); color: var(--fg-color, #ddd); font: 14px/1.45 system-ui, sans-serif; flex-direction: column; gap: 10px;
  overflow: hidden; outline: none; }
.uq-review[open] { display: flex; }
.uq-review h2 { margin: 0; font-size: 20px; font-weight: 600; }
.uq-review header { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 6px 10px; }
.uq-review header .uq-words { flex: 1 1 320px; }
.uq-review header p { margin: 0; }
.uq-review .uq-button { padding: 6px 14px; border-radius: 8px; font-size: 14px; }
.uq-review .uq-button[aria-pressed="true"] { border-color: currentColor; background: var(--fg-color, #ddd); color: var(--bg-color, #202020); }
.uq-review .uq-primary { background: var(--uq-focus); border-color: var(--uq-focus); color: #fff; font-weight: 600; text-shadow: 0 1px 1px #0006; }
.uq-review kbd { font: 11px/1 ui-monospace, monospace; border: 1px solid currentColor; border-radius: 4px; padding: 1px 4px; margin-left: 6px; opacity: 0.75; }
.uq-review .uq-time { display: inline-flex; flex-direction: column; align-items: flex-end; min-width: 130px; font-variant-numeric: tabular-nums; }
.uq-review .uq-time b { font-size: 16px; line-height: 1.2; }
.uq-review .uq-time.uq-soon b { color: var(--uq-bad); }
.uq-review .uq-strip { flex: none; height: 58px; }
.uq-review .uq-strip svg { width: 100%; height: 100%; }
.uq-review .uq-strip .uq-other { fill: var(--uq-soft); opacity: 0.55; }
.uq-review .uq-strip g { cursor: pointer; }
.uq-review .uq-strip .uq-on circle { stroke: currentColor; stroke-width: 3; }
.uq-review .uq-strip g text { fill: #fff; font: 600 11px system-ui, sans-serif; paint-order: stroke; stroke: #0008; stroke-width: 2px; }
.uq-review .uq-grid { flex: 1; min-height: 0; display: grid; gap: 12px; justify-content: center; align-content: center; overflow: auto; padding: 5px; }
.uq-review .uq-grid.uq-long { align-content: start; }
.uq-review .uq-card { position: relative; display: flex; flex-direction: column; padding: 0; border: 3px solid var(--uq-good); border-radius: 10px; overflow: hidden;
  background: var(--comfy-menu-bg, #2b2b2b); color: inherit; font: inherit; text-align: left; cursor: pointer; min-width: 0; }
.uq-review .uq-card.uq-out { border-color: var(--uq-bad); border-style: dashed; }
.uq-review .uq-card.uq-on { outline: 2px solid var(--uq-soft); outline-offset: 1px; }
.uq-review .uq-card:focus, .uq-review .uq-shown:focus { outline: 3px solid var(--fg-color, #fff); outline-offset: 1px; }
.uq-review .uq-picture { position: relative; display: block; width: 100%; background: #0004; }
.uq-review .uq-picture img { display: block; width: 100%; height: 100%; object-fit: contain; }
.uq-review .uq-pixels { image-rendering: pixelated; }
.uq-review .uq-card .uq-foot, .uq-review .uq-turners .uq-foot { width: 100%; background: color-mix(in srgb, var(--uq-good) 16%, transparent); }
.uq-review .uq-card.uq-out .uq-foot, .uq-review .uq-out .uq-turners .uq-foot { background: color-mix(in srgb, var(--uq-bad) 20%, transparent) ; }
.uq-review .uq-number { position: absolute; top: 6px; left: 6px; min-width: 24px; text-align: center; background: #000a; color: #fff; border-radius: 6px; padding: 1px 6px; font-weight: 600; }
.uq-review .uq-zoom { position: absolute; top: 6px; right: 6px; width: 32px; height: 32px; display: grid; place-items: center; line-height: 1; background: #000a; color: #fff; border: 0; border-radius: 6px; cursor: pointer; font-size: 15px; }
.uq-review .uq-foot { display: flex; align-items: baseline; gap: 8px; height: 34px; padding: 6px 10px; white-space: nowrap; overflow: hidden; }
.uq-review .uq-foot b { color: color-mix(in srgb, var(--uq-good) 55%, var(--fg-color, #ddd)); }
.uq-review .uq-out .uq-foot b { color: color-mix(in srgb, var(--uq-bad) 55%, var(--fg-color, #ddd)); }
.uq-review .uq-foot .uq-soft { overflow: hidden; text-overflow: ellipsis; }
.uq-review .uq-foot .uq-score { margin-left: auto; font-variant-numeric: tabular-nums; }
.uq-review .uq-large { flex: 1; min-height: 0; display: flex; flex-direction: column; align-items: center; gap: 6px; }
.uq-review .uq-shown { flex: 1; min-height: 0; max-width: 100%; padding: 0; border: 0; background: none; cursor: zoom-out; border-radius: 10px; touch-action: pinch-zoom; }
.uq-review .uq-shown img { display: block; height: 100%; max-width: 100%; object-fit: contain; border: 3px solid var(--uq-good); border-radius: 10px; }
.uq-review .uq-large.uq-out .uq-shown img { border-color: var(--uq-bad); border-style: dashed; }
.uq-review .uq-turners { flex: none; display: flex; gap: 8px; width: min(100%, 640px); }
.uq-review .uq-turners > [data-key="verdict"] { flex: 1; padding: 0; text-align: left; overflow: hidden; background: var(--comfy-menu-bg, #2b2b2b); color: inherit; }
.uq-review .uq-keys { flex: none; text-align: center; font-size: 12px; margin: 0; }
`;
