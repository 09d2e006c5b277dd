// The table of a report: a picture of each image, its score and what became of it. A click on a heading sorts.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { button, html } from "../shared/dom.js";
import { speaker } from "../shared/settings.js";
import { named } from "./figures.js";
import { csv, rowsOf, sorted } from "./rows.js";
import { texts } from "./words.js";

const say = speaker(texts);

// light(image or -1): the pointer, or the keyboard, is at the row of an image.
export function table(report, light) {
  const rows = rowsOf(report);
  const body = html("tbody");
  const order = { column: "rank", isDown: false };
  const columns = ["image", "score", "rank", ...(report.accepted ? ["accepted"] : [])];
  const heads = columns.map((column) => {
    const sort = () => {
      Object.assign(order, { column, isDown: order.column === column && !order.isDown });
      arrange();
    };
    return html("th", { scope: "col" }, button(say(column), sort, { class: "uq-sort" }));
  });
  function arrange() {
    body.replaceChildren(...sorted(rows, order.column, order.isDown).map((row, i) => line(row, columns, i === 0)));
    heads.forEach((head, i) => head.setAttribute("aria-sort", columns[i] === order.column ? (order.isDown ? "descending" : "ascending") : "none"));
  }
  arrange();
  const at = (event) => Number(event.target.closest("tr")?.dataset.image ?? -1);
  for (const type of ["pointerover", "focusin"]) body.addEventListener(type, (event) => light(at(event)));
  for (const type of ["pointerleave", "focusout"]) body.addEventListener(type, () => light(-1));
  body.addEventListener("keydown", walk);
  const pictured = rows.some((row) => row.picture) ? [html("th")] : [];
  const caption = html("caption", { class: "uq-hidden" }, say("table"));
  const whole = html("table", { class: "uq-table" }, caption, html("thead", {}, html("tr", {}, ...pictured, ...heads)), body);
  return { element: whole, copy: button(say("copy"), () => copy(csv(rows)), { class: "uq-button uq-push", title: say("copyHint") }) };
}

function line(row, columns, isFirst) {
  const side = row.accepted === false ? "uq-dropped" : "uq-kept";
  const verdict = row.accepted ? "isAccepted" : "isRejected";
  const words = { image: `${row.image}`, score: named(row.score), rank: `${row.rank}`, accepted: say(verdict) };
  const cell = (column) => html("td", {}, column === "accepted" ? html("span", { class: `uq-swatch ${side}` }) : null, words[column]);
  const picture = row.picture ? [html("td", { class: "uq-thumb" }, thumbnail(row))] : [];
  const label = columns.map((column) => `${say(column)}: ${words[column]}`).join(", ");
  const attributes = { "data-image": row.image, tabindex: isFirst ? 0 : -1, class: row.accepted === false ? "uq-out" : null, "aria-label": label };
  return html("tr", attributes, ...picture, ...columns.map(cell));
}

function thumbnail({ image, picture }) {
  const query = new URLSearchParams({ filename: picture.filename, subfolder: picture.subfolder, type: picture.type });
  return html("img", { src: api.apiURL(`/view?${query}`), alt: say("thumbnail", { image }), loading: "lazy", draggable: "false" });
}

function walk(event) {
  const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  event.target.closest("tr")?.[next]?.focus();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // a page that did not come over https has no clipboard
  }
  app.extensionManager?.toast?.add({ severity: "success", summary: say("copied"), life: 2000 });
}

function copyBySelection(text) {
  const area = html("textarea", { style: "position: fixed; opacity: 0" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
