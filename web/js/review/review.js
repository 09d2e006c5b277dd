// Asks a person about borderline images when a run of this page waits for it, one question after the other.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { findNode } from "../shared/nodes.js";
import { isOpen } from "../shared/origin.js";
import { REVIEW_TIMEOUT, setting, speaker } from "../shared/settings.js";
import { openPicker } from "./picker.js";
import { markTitle, unmarkTitle } from "./title.js";
import { texts } from "./words.js";

const say = speaker(texts);
const waiting = new Map(); // id -> question, in the order in which they came
let open = null; // { id, picker }

async function post(question, action, fields = {}) {
  const body = JSON.stringify({ id: question.id, client_id: api.clientId, action, ...fields });
  const reply = await api.fetchApi("/uncertainty/review", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  return reply.ok ? null : ((await reply.json().catch(() => null))?.error ?? `${reply.status}`);
}

// Of the page's settings; the node's own go first.
function secondsSet() {
  const seconds = Number(setting(REVIEW_TIMEOUT));
  return Number.isFinite(seconds) && seconds >= 0 && seconds <= 86400 ? seconds : undefined;
}

function ask({ detail: question }) {
  post(question, "seen", { seconds: secondsSet() }); // also when it is asked once more, since the answer may have been lost
  if (waiting.has(question.id)) return;
  waiting.set(question.id, question);
  markTitle(say("tab"));
  showNext();
}

function showNext() {
  const question = open ? null : waiting.values().next().value;
  if (!question) return;
  const seconds = question.seconds || secondsSet() || 0;
  const nodeTitle = (isOpen(question.workflow) && findNode(question.node)?.title) || say("node");
  const on = {
    answer: (sides) => finish(question, "answer", sides),
    leave: () => finish(question, "leave"),
    stop: () => api.interrupt(null),
    touch: () => [...waiting.values()].forEach((each) => post(each, "touch")), // those behind wait for the same person
  };
  open = { id: question.id, picker: openPicker(question, { say, nodeTitle, seconds, waiting: () => waiting.size - 1 }, on) };
}

async function finish(question, action, fields) {
  remove(question.id);
  const why = await post(question, action, fields).catch((error) => error.message);
  if (why) app.extensionManager?.toast?.add({ severity: "warn", summary: say("title"), detail: say("lost", { why }), life: 8000 });
}

function end({ detail: { id } }) {
  if (!waiting.has(id)) return; // answered here
  remove(id);
  app.extensionManager?.toast?.add({ severity: "info", summary: say("title"), detail: say("ended"), life: 8000 });
}

function remove(id) {
  waiting.delete(id);
  if (!waiting.size) unmarkTitle();
  if (open?.id === id) {
    open.picker.close();
    open = null;
  }
  showNext();
}

app.registerExtension({
  name: "uncertaintynodes.Review",
  setup() {
    api.addEventListener("uncertainty.review", ask);
    api.addEventListener("uncertainty.review.end", end);
  },
});
