// What the page says, in two languages, and the library's own remarks in Chinese.

export const LANGUAGES = ["en", "zh"];

let words = {};
let remarks = {};
let current = "en";

export function setWords(all, translated) {
  words = all;
  remarks = translated;
}

export function language() {
  return current;
}

export function setLanguage(name) {
  current = name;
  document.documentElement.lang = name === "zh" ? "zh-Hans" : "en";
}

/** The words of a key, with {name} filled in. */
export function t(key, values = {}) {
  const text = words[current][key];
  if (text === undefined) throw new Error(`no words for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Words around things that are no text: t with elements for {name}. */
export function tn(key, values) {
  return words[current][key].split(/(\{\w+\})/).map((part) => {
    const name = /^\{(\w+)\}$/.exec(part);
    return name ? values[name[1]] : part;
  });
}

/** A remark of the library, which is written in English. */
export function remark(text) {
  return current === "en" ? text : remarks[text] || text;
}
