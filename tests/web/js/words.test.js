import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";

import { sentence } from "../../../web/js/shared/words.js";

const web = new URL("../../../web/js/", import.meta.url);
const parts = readdirSync(web, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== "shared");
const tables = [];
for (const { name } of parts) {
  if (readdirSync(new URL(`${name}/`, web)).includes("words.js")) {
    tables.push([name, (await import(new URL(`${name}/words.js`, web))).texts]);
  }
}
const holes = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

test("there are texts to look at", () => assert.ok(tables.length));

for (const [name, texts] of tables) {
  test(`every text of ${name} is there in Chinese, with the same values in it`, () => {
    assert.deepEqual(Object.keys(texts.zh).sort(), Object.keys(texts.en).sort());
    for (const key of Object.keys(texts.en)) assert.deepEqual(holes(texts.zh[key]), holes(texts.en[key]), key);
  });
}

test("a language is chosen, a missing one is English", () => {
  const texts = { en: { hello: "hello {name}", only: "only" }, zh: { hello: "你好 {name}" } };
  assert.equal(sentence(texts, "zh-TW", "hello", { name: "x" }), "你好 x");
  assert.equal(sentence(texts, "fr", "hello", { name: "{name}" }), "hello {name}");
  assert.equal(sentence(texts, "zh", "only"), "only");
});

test("a key that is no text of ours is shown as it is, whatever objects have under it", () => {
  for (const key of ["__proto__", "constructor", "toString"]) assert.equal(sentence({ en: {} }, "en", key), key);
  assert.equal(sentence({ en: {} }, "en", "{constructor}", { name: "x" }), "{constructor}");
});
