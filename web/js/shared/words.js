// Sentences in the language of the host. Each part of the front-end has its own file of texts: { en: { key: "..." }, zh: { ... } }.

// zh-TW is read as zh; what a language lacks is English. {name} in a text is replaced by values.name.
export function sentence(texts, language, key, values = {}) {
  const text = own(texts[language], key) ?? own(texts[language.split("-")[0]], key) ?? own(texts.en, key) ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

// Not what every object has: a key may be a word of the server's.
const own = (table, key) => (table && Object.hasOwn(table, key) ? table[key] : undefined);
