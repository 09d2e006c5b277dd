// What is kept, what is shown, and the list that is saved. Images are numbered from the surest, 0; names and prompts only ever become text.
const data = window.REPORT, count = data.name.length, $ = id => document.getElementById(id);
const scored = data.score.filter(s => s !== null), byHand = new Map(); // image -> whether it is kept, against the slider
const members = data.prompts.map(() => []);
data.prompt.forEach((prompt, image) => members[prompt].push(image));
let kept = 0;
const isKept = image => byHand.get(image) ?? image < kept;
const countKept = () => { let n = kept; for (const [image, side] of byHand) n += side - (image < kept); return n; };
const before = (list, end) => { let low = 0, high = list.length; while (low < high) { const m = (low + high) >> 1; if (list[m] < end) low = m + 1; else high = m; } return low; };
const groupKept = prompt => { let n = before(members[prompt], kept); for (const [image, side] of byHand) if (data.prompt[image] === prompt) n += side - (image < kept); return n; };
const percent = (part, whole) => whole ? (100 * part / whole).toFixed(part === whole || !part ? 0 : 1) + "\u202f%" : "–";
const number = n => n.toLocaleString("en");

const grid = new Grid($("grid"), {
  cell(image) {
    const pic = el("span", { className: "pic" }, el("img", { src: data.thumb[image], alt: "", loading: "lazy", decoding: "async" }));
    if (data.heat[image]) pic.append(el("img", { className: "heat", src: data.heat[image], alt: "", loading: "lazy", decoding: "async" }));
    const text = el("span", { className: "text" }, el("span", { className: "rank", textContent: "#" + number(image + 1) }), short(data.score[image]), el("br"), data.prompts[data.prompt[image]] || data.name[image]);
    const card = el("button", { className: "card", type: "button", title: data.name[image], onclick: () => viewer.show(image) }, pic, text);
    const cell = el("div", { className: "cell", role: "listitem" }, card, el("button", { className: "mark", type: "button", onclick: () => toggle(image) }));
    this.refresh(cell, image);
    return cell;
  },
  refresh(cell, image) {
    const good = isKept(image), mark = cell.lastChild;
    cell.classList.toggle("rejected", !good); cell.classList.toggle("hand", byHand.has(image));
    mark.textContent = good ? "✓" : "✕"; mark.title = good ? "Kept. Click to reject it." : "Rejected. Click to keep it.";
  },
  head(group) {
    const n = groupKept(group.prompt), all = members[group.prompt].length;
    return el("div", { className: "head" }, el("span", { textContent: data.prompts[group.prompt] || "(no prompt is known)", title: data.prompts[group.prompt] }), el("span", { className: "dim", textContent: `kept ${number(n)} of ${number(all)}, ${percent(n, all)}` }));
  },
});
grid.cell = grid.cell.bind(grid);

let listed = [];
function list() {
  const words = $("find").value.trim().toLowerCase(), show = $("show").value, order = $("order").value;
  const prompts = data.prompts.map(p => p.toLowerCase().includes(words));
  const fits = i => (!words || prompts[data.prompt[i]] || data.name[i].toLowerCase().includes(words)) && (show === "all" || (show === "changed" ? byHand.has(i) : isKept(i) === (show === "kept")));
  const groups = order === "prompt" ? members.map((images, prompt) => ({ prompt, images: images.filter(fits) })).filter(g => g.images.length) : [{ prompt: null, images: data.name.map((_, i) => i).filter(fits) }];
  if (order === "worst") groups[0].images.reverse();
  listed = groups.flatMap(g => g.images);
  $("nothing").hidden = listed.length > 0;
  grid.set(groups);
}
function tellCounts() {
  const n = countKept(), limit = kept && kept < scored.length ? `, scores ${data.high_is_bad ? "up to" : "down to"} ${short(scored[kept - 1])}` : "";
  $("keepout").textContent = percent(kept, scored.length);
  $("live").textContent = `Kept ${number(n)} of ${number(count)}, rejected ${number(count - n)}${limit}${byHand.size ? `; ${number(byHand.size)} by hand` : ""}.`;
}
function limit() {
  kept = Math.round(scored.length * $("keep").value / 100);
  for (const [image, side] of byHand) if (side === image < kept) byHand.delete(image);
  tellCounts();
  if (scored.length) { drawHistogram($("histogram"), scored, kept && kept < scored.length ? (scored[kept - 1] + scored[kept]) / 2 : scored.at(kept ? -1 : 0), kept); drawCurve($("curve"), scored, kept); }
  if (["kept", "rejected", "changed"].includes($("show").value)) list(); else grid.update();
}
function toggle(image) {
  const side = !isKept(image);
  if (side === image < kept) byHand.delete(image); else byHand.set(image, side);
  tellCounts(); grid.update();
}
const quote = text => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
function save(as) {
  const side = $("which").value === "kept", chosen = data.name.map((_, i) => i).filter(i => isKept(i) === side);
  const rows = as === "txt" ? chosen.map(i => data.name[i]) : ["file,rank,score,prompt,seed", ...chosen.map(i => [data.name[i], i + 1, data.score[i] ?? "", data.prompts[data.prompt[i]], data.seed[i] ?? ""].map(String).map(quote).join(","))];
  const link = el("a", { href: URL.createObjectURL(new Blob([rows.join("\n") + "\n"], { type: as === "txt" ? "text/plain" : "text/csv" })), download: `${$("which").value}.${as}` });
  link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const tell = i => [`${data.quantity.replaceAll("_", " ")} ${short(data.score[i])}, rank ${number(i + 1)} of ${number(count)}`, data.prompts[data.prompt[i]], `${data.name[i]}, ${data.size[i].join(" × ")} pixels${data.seed[i] ? `, seed ${data.seed[i]}` : ""}`, data.why[i]].filter(Boolean).join("\n");
const viewer = new Viewer(data, { tell, toggle, isKept, next: (image, step) => listed[listed.indexOf(image) + step] });

$("lead").textContent = `${data.title}: ${number(count)} images by ${data.quantity.replaceAll("_", " ")}, where a ${data.high_is_bad ? "high" : "low"} score is bad.`;
const facts = [[number(count), "images"], [number(data.prompts.length), data.prompts.length === 1 ? "prompt" : "prompts"], [short(scored[0]), "surest score"], [short(scored[Math.floor(scored.length / 2)]), "middle score"], [short(scored.at(-1)), "least sure score"]];
if (scored.length < count) facts.push([number(count - scored.length), "without a score"]);
$("facts").append(...facts.map(([value, name]) => el("div", { className: "fact" }, el("b", { textContent: value }), el("span", { textContent: name }))));
$("heatlabel").hidden = !data.heat.some(Boolean);
$("keep").value = data.keep; $("keep").oninput = limit;
for (const id of ["order", "show"]) $(id).onchange = list;
$("find").oninput = list;
$("side").onchange = e => { grid.side = +e.target.value; grid.layout(); };
$("heat").onchange = e => { grid.heat = e.target.checked; grid.update(); };
for (const button of document.querySelectorAll("button.save")) button.onclick = () => save(button.dataset.as);
limit(); list();
