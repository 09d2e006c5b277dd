// The images of the last run, best first, with the line between those that would pass and those that wouldn't; what was set aside is neither.

import { api } from "../../../../scripts/api.js";
import { html } from "../shared/dom.js";
import { isNumber, short } from "../shared/scales.js";

const SIDE = 46; // pixels of a picture's longer side

export function pile(report, decision, say) {
  const lastKept = decision.order.filter((i) => decision.passes[i]).pop();
  const items = decision.order.flatMap((image) => [
    chip(report, decision, image, decision.aside?.has(image), say),
    ...(image === lastKept && image !== decision.order[decision.order.length - 1] ? [html("li", { class: "uq-gap", "aria-hidden": "true" })] : []),
  ]);
  return html("ul", { class: "uq-pile", "aria-label": say("images") }, ...items);
}

function chip(report, decision, image, aside, say) {
  const passes = decision.passes[image];
  const verdict = say(aside ? "unsure" : passes ? "accepted" : "rejected");
  const score = isNumber(report.scores[image]) ? short(report.scores[image]) : say("noScore");
  const words = say("image", { image, score, verdict });
  const kind = `uq-chip${passes ? "" : " uq-dropped"}${aside ? " uq-aside" : ""}`;
  const tag = html("span", { class: "uq-tag", "aria-hidden": "true" }, `${aside ? "?" : passes ? "✓" : "✕"} ${image}`);
  return html("li", { class: kind, title: words, "aria-label": words, "data-image": image }, thumbnail(report.thumbnails, image), tag);
}

// A part of the sheet of all pictures.
function thumbnail(sheet, image) {
  if (!sheet || image >= sheet.count) return null;
  const scale = SIDE / Math.max(...sheet.cell);
  const [width, height] = sheet.cell.map((side) => Math.round(side * scale));
  const { filename, subfolder, type, columns } = sheet;
  const url = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
  const place = `${-width * (image % columns)}px ${-height * Math.floor(image / columns)}px`;
  const element = html("span", { class: "uq-thumb" });
  const background = { backgroundImage: `url("${url}")`, backgroundPosition: place, backgroundSize: `${width * columns}px auto` };
  Object.assign(element.style, background, { width: `${width}px`, height: `${height}px` });
  return element;
}
