// Histogram and curve of the scores, which are sorted from the surest to the least sure; those without a score are left out.
const W = 640, H = 230, L = 8, B = 26, BINS = 48;
const SVG = "http://www.w3.org/2000/svg";
const shape = (name, attributes, text = "") => { const e = document.createElementNS(SVG, name); for (const key in attributes) e.setAttribute(key, attributes[key]); e.textContent = text; return e; };
const picture = (label, parts) => { const e = shape("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label }); e.append(...parts); return e; };
const label = (x, anchor, text) => shape("text", { x, y: H - 8, "text-anchor": anchor }, text);
const short = x => x == null ? "–" : Number(x).toPrecision(4).replace(/\.?0+$/, "").replace(/\.?0+e/, "e");

function drawHistogram(box, scores, limit, kept) {
  const low = Math.min(scores[0], scores.at(-1)), high = Math.max(scores[0], scores.at(-1)), bins = Array.from({ length: BINS }, () => [0, 0]);
  scores.forEach((s, i) => bins[Math.min(BINS - 1, Math.floor((s - low) / (high - low || 1) * BINS))][i < kept ? 0 : 1]++);
  const most = Math.max(1, ...bins.map(([a, b]) => a + b)), w = (W - 2 * L) / BINS, unit = (H - B - 14) / most, x = L + (limit - low) / (high - low || 1) * (W - 2 * L);
  const bar = (i, count, below, colour) => shape("rect", { x: L + i * w + .5, width: Math.max(1, w - 1), y: H - B - (below + count) * unit, height: count * unit, fill: `var(--${colour})`, rx: 1 });
  box.replaceChildren(picture("Histogram of the scores", [...bins.flatMap(([a, b], i) => [bar(i, a, 0, "good"), bar(i, b, a, "bad")]),
    shape("line", { x1: x, x2: x, y1: 4, y2: H - B, stroke: "var(--fg)", "stroke-width": 2, "stroke-dasharray": "5 4" }), label(L, "start", short(low)), label(W - L, "end", short(high))]));
}

function drawCurve(box, scores, kept) {
  const low = Math.min(scores[0], scores.at(-1)), high = Math.max(scores[0], scores.at(-1)), n = scores.length, step = Math.max(1, Math.floor(n / 600));
  const X = i => L + (n > 1 ? i / (n - 1) : .5) * (W - 2 * L), Y = s => H - B - (s - low) / (high - low || 1) * (H - B - 14), points = [];
  for (let i = 0; i < n; i += step) points.push(i);
  if (points.at(-1) !== n - 1) points.push(n - 1);
  const line = (some, colour) => shape("polyline", { fill: "none", stroke: `var(--${colour})`, "stroke-width": 2.5, "stroke-linejoin": "round", points: some.map(i => `${X(i)},${Y(scores[i])}`).join(" ") });
  const x = kept >= n ? W - L : X(Math.max(0, kept - .5));
  box.replaceChildren(picture("Scores from the surest to the least sure image", [line(points.filter(i => i < kept), "good"), line(points.filter(i => i >= kept), "bad"),
    shape("line", { x1: x, x2: x, y1: 4, y2: H - B, stroke: "var(--fg)", "stroke-width": 2, "stroke-dasharray": "5 4" }), label(L, "start", "surest"), label(W - L, "end", "least sure")]));
}
