// The full-screen view in which a person decides about the borderline images of one run.

import { button, html } from "../shared/dom.js";
import { useTheme } from "../shared/theme.js";
import { card, large, picture, shapeOf, urlOf } from "./cards.js";
import { answer, begin, clock, goTo, layout, press, toggle } from "./state.js";
import { strip } from "./strip.js";
import { STYLE } from "./style.js";

const SOON = 15; // seconds before the end that the clock turns red
const TICK = 250; // milliseconds

// question: as the server asks it. say: texts. nodeTitle, waiting(): how many more reviews wait.
// on: { answer({ accepted, rejected }), leave(), stop(), touch() }. Returns { close() }.
export function openPicker(question, { say, nodeTitle, seconds, waiting }, on) {
  useTheme("uncertainty-review", STYLE);
  const before = document.activeElement;
  const dialog = html("dialog", { class: "uq uq-review", "aria-label": say("title") });
  let state = begin(question.images);
  let [columns, lastSign] = [1, performance.now()];
  const time = html("span", { class: "uq-time", role: "timer" });

  const pictures = new Map(); // kept from one drawing to the next, or they would flicker
  const pictureOf = (image) => {
    const file = (state.heat && image.heatmap) || image.picture;
    if (!pictures.has(file)) pictures.set(file, picture(image, file, say));
    return pictures.get(file);
  };

  const act = {
    picture: pictureOf,
    toggle: (at) => change(toggle(state, at)),
    zoom: (at) => change({ ...goTo(state, at), zoomed: !state.zoomed }),
    go: (at) => change(goTo(state, at)),
  };

  // button: the data-key of the one that keeps the focus; without it the focus goes to the image that is decided on.
  function change(next, button = document.activeElement?.dataset?.key) {
    state = next;
    if (state.ending === "answer") on.answer(answer(question.images, state));
    else if (state.ending === "leave") on.leave();
    else draw(button);
  }

  function draw(button) {
    const image = question.images[state.at];
    if (state.zoomed) {
      dialog.replaceChildren(head(), large(image, state.at, state, say, act)); // all of the room for the picture
    } else {
      dialog.replaceChildren(head(), scores(), grid(), html("p", { class: "uq-keys uq-soft" }, say("keys")));
      fit(dialog.querySelector(".uq-grid"));
    }
    (dialog.querySelector(`[data-key="${button}"]:not(:disabled)`) ?? dialog.querySelector(`[data-at="${state.at}"]`)).focus();
  }

  function head() {
    const about = say("about", { count: question.images.length, size: question.scores.length, node: nodeTitle });
    const more = waiting() ? ` ${say("more", { count: waiting() })}` : "";
    const words = html("div", { class: "uq-words" }, html("h2", {}, say("title")), html("p", { class: "uq-soft" }, about + more));
    const { accepted, rejected } = answer(question.images, state);
    const hasHeat = question.images.some((image) => image.heatmap);
    const heat = { "aria-pressed": String(state.heat), disabled: !hasHeat, title: hasHeat ? null : say("noHeat") };
    const done = say("done", { accepted: accepted.length, rejected: rejected.length });
    const key = (name) => html("kbd", { "aria-hidden": "true" }, name);
    const labelled = (id, label, name, act, more = {}) => {
      const made = button(label, act, { class: "uq-button", "data-key": id, ...more });
      made.append(...(name ? [key(name)] : []));
      return made;
    };
    return html(
      "header",
      {},
      words,
      time,
      labelled("heat", say("heat"), "H", () => change(press(state, "h")), heat),
      labelled("stop", say("stop"), "", on.stop),
      labelled("leave", say("leave"), "Esc", () => change({ ...state, ending: "leave" })),
      labelled("done", done, "Enter", () => change(press(state, "Enter")), { class: "uq-button uq-primary" }),
    );
  }

  function scores() {
    const label = say("strip", { quantity: question.quantity, end: say(question.direction === "high_is_bad" ? "high" : "low") });
    return strip(question, state, dialog.clientWidth - 40, label, (at) => change(goTo(state, at)));
  }

  const grid = () => html("div", { class: "uq-grid", role: "group", "aria-label": say("images") });

  // The cards need the room that is left beside the rest, which is known once that stands in the page.
  function fit(room) {
    const shape = shapeOf(question.images[0]);
    const found = layout(question.images.length, shape, room.clientWidth - 16, room.clientHeight - 16);
    columns = found.columns;
    room.style.gridTemplateColumns = `repeat(${columns}, ${found.width}px)`;
    room.replaceChildren(...question.images.map((image, at) => card(image, at, state, found.width, say, act)));
    room.classList.toggle("uq-long", room.scrollHeight > room.clientHeight);
  }

  function tick() {
    const left = seconds ? seconds - (performance.now() - lastSign) / 1000 : Infinity;
    const words = Number.isFinite(left) ? say("left", { time: clock(left) }) : say("always");
    time.replaceChildren(html("b", {}, words), ...(seconds ? [html("span", { class: "uq-soft" }, say(`then_${question.unanswered}`))] : []));
    time.classList.toggle("uq-soon", left < SOON);
  }

  function sign() {
    const pause = Math.min(2, (seconds || 6) / 3) * 1000;
    if (performance.now() - lastSign < pause) return;
    lastSign = performance.now();
    on.touch();
    tick();
  }

  const over = new AbortController();
  const listen = (target, type, act) => target.addEventListener(type, act, { signal: over.signal });
  listen(dialog, "cancel", (event) => event.preventDefault()); // Escape is ours
  listen(dialog, "keydown", (event) => {
    event.stopPropagation(); // none of these keys is meant for the workflow
    sign();
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    if ((event.key === "Enter" || event.key === " ") && event.target.closest?.("[data-key]")) return; // they press the button that has the focus
    const next = press(state, event.key, columns);
    if (!next) return;
    event.preventDefault();
    change(next, null);
  });
  for (const type of ["pointermove", "pointerdown", "wheel"]) listen(dialog, type, sign);
  listen(window, "resize", () => !state.zoomed && draw());
  const timer = setInterval(tick, TICK);

  document.body.append(dialog);
  dialog.tabIndex = -1;
  dialog.showModal();
  tick();
  draw();
  for (const image of question.images) if (image.heatmap) new Image().src = urlOf(image.heatmap); // there at once when the key is pressed

  return {
    close() {
      over.abort();
      clearInterval(timer);
      dialog.close();
      dialog.remove();
      before?.focus?.();
    },
  };
}
