// Sentences in the language of the host. Each part of the front-end has its own file of texts: { en: { key: "..." }, zh: { ... } }.

// zh-TW is read as zh; what a language lacks is English. {name} in a text is replaced by values.name.
export function sentence(texts, language, key, values = {}) {
  const text = texts[language]?.[key] ?? texts[language.split("-")[0]]?.[key] ?? texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
