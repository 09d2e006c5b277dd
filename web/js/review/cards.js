// The images to decide on: side by side, or one of them large.

import { api } from "../../../../scripts/api.js";
import { button, html } from "../shared/dom.js";
import { short } from "../shared/scales.js";

const SMALL = 256; // pixels: enlarged pictures below this keep their pixels

export const urlOf = ({ filename, subfolder, type }) => api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

export function card(image, at, state, size, say, act) {
  const accepted = state.accepted[at];
  const zoom = html("span", { class: "uq-zoom", title: say("zoom"), "aria-hidden": "true", click: (event) => swallow(event, () => act.zoom(at)) }, "⤢");
  const frame = html("span", { class: "uq-picture" }, act.picture(image), html("span", { class: "uq-number" }, `${at + 1}`), zoom);
  frame.style.height = `${size / shapeOf(image)}px`;
  const kind = `uq-card${accepted ? "" : " uq-out"}${state.at === at ? " uq-on" : ""}`;
  const label = wordsOf(image, accepted, say);
  const attributes = { type: "button", class: kind, "data-at": at, "aria-pressed": String(accepted), "aria-label": label, tabindex: state.at === at ? 0 : -1 };
  const element = html("button", { ...attributes, click: () => act.toggle(at) }, frame, foot(image, accepted, say));
  element.style.width = `${size}px`;
  return element;
}

// One image as large as the room allows, with what a mouse or a finger needs to decide and to go on.
export function large(image, at, state, say, act) {
  const back = { "data-at": at, "aria-label": `${wordsOf(image, state.accepted[at], say)}. ${say("small")}`, title: say("small") };
  const shown = html("button", { type: "button", class: "uq-shown", ...back, click: () => act.zoom(at) }, act.picture(image));
  const turn = (to, sign, name) => {
    const outside = to < 0 || to >= state.accepted.length;
    return button(sign, () => act.go(to), { "data-key": name, "aria-label": say(name), disabled: outside });
  };
  const verdict = button("", () => act.toggle(at), { "data-key": "verdict", "aria-pressed": String(state.accepted[at]), title: say("turn") });
  verdict.append(foot(image, state.accepted[at], say, at));
  const row = html("div", { class: "uq-turners" }, turn(at - 1, "◀", "previous"), verdict, turn(at + 1, "▶", "next"));
  return html("div", { class: `uq-large${state.accepted[at] ? "" : " uq-out"}` }, shown, row);
}

const wordsOf = (image, accepted, say) => say("card", { index: image.index, score: short(image.score), verdict: say(accepted ? "accept" : "reject") });

export const shapeOf = ({ picture: { width, height } }) => width / height;

export function picture(image, file, say) {
  const pixels = Math.max(file.width, file.height) < SMALL;
  const attributes = { src: urlOf(file), alt: say("card", { index: image.index, score: short(image.score), verdict: "" }), draggable: "false" };
  const element = html("img", { ...attributes, class: pixels ? "uq-pixels" : "" });
  element.addEventListener("error", () => element.replaceWith(html("span", { class: "uq-soft" }, say("gone"))));
  return element;
}

function foot(image, accepted, say, at = null) {
  const verdict = html("b", {}, `${at === null ? "" : `${at + 1} · `}${accepted ? "✓" : "✕"} ${say(accepted ? "accept" : "reject")}`);
  const rule = image.accepted === accepted ? null : html("span", { class: "uq-soft" }, say("changed"));
  return html("span", { class: "uq-foot" }, verdict, rule, html("span", { class: "uq-score" }, short(image.score)));
}

function swallow(event, act) {
  event.stopPropagation();
  act();
}
