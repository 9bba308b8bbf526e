/** The API key, kept for this tab alone. */

const KEPT_AS = "cosyserve.key";
let key = read();

/** "" where there is none. */
export function apiKey() {
  return key;
}

/** "" forgets it. */
export function setApiKey(to) {
  key = to.trim();
  try {
    if (key) sessionStorage.setItem(KEPT_AS, key);
    else sessionStorage.removeItem(KEPT_AS);
  } catch {
    // A browser that keeps nothing for this page: the key lasts as long as the page.
  }
}

function read() {
  try {
    return sessionStorage.getItem(KEPT_AS) ?? "";
  } catch {
    return "";
  }
}
