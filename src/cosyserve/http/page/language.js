/** Which language the page speaks, and the words that are on it now. */

import { LANGUAGES, TEXTS } from "./texts.js";

const KEPT_AS = "cosyserve.language";
const values = new WeakMap();
const labelValues = new WeakMap();
let language = "en";

/** The words for a key, with the values in their places. */
export function text(key, inserted = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => inserted[name]);
}

/** Put words into an element; they follow when the language changes. */
export function say(element, key, inserted = {}) {
  element.dataset.t = key;
  values.set(element, inserted);
  const words = text(key, inserted);
  // A live region speaks when it changes, and must not when it does not.
  if (element.textContent !== words) element.textContent = words;
}

/** Give an element a name for those who do not see it. */
export function label(element, key, inserted = {}) {
  element.dataset.tLabel = key;
  labelValues.set(element, inserted);
  element.setAttribute("aria-label", text(key, inserted));
}

/** Take the words away. */
export function hush(element) {
  delete element.dataset.t;
  element.textContent = "";
}

/** Begin with the reader's own choice, else with what the browser prefers. */
export function beginLanguage(button) {
  const preferred = kept() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
  change(preferred, button);
  button.addEventListener("click", () => {
    const other = otherLanguage();
    keep(other);
    change(other, button);
  });
}

function change(to, button) {
  language = to;
  document.documentElement.lang = to;
  document.title = text("title");
  for (const element of document.querySelectorAll("[data-t]")) say(element, element.dataset.t, values.get(element));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = text(element.dataset.tPlaceholder);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    label(element, element.dataset.tLabel, labelValues.get(element));
  }
  button.textContent = LANGUAGES[otherLanguage()];
  button.lang = otherLanguage();
}

function otherLanguage() {
  return Object.keys(LANGUAGES).find((name) => name !== language);
}

// A browser that keeps nothing for this page throws; then a choice lasts as long as the page.
function kept() {
  try {
    const name = localStorage.getItem(KEPT_AS);
    return name in LANGUAGES ? name : null;
  } catch {
    return null;
  }
}

function keep(name) {
  try {
    localStorage.setItem(KEPT_AS, name);
  } catch {
    // As said.
  }
}
