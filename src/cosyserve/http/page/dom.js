/** What the page's parts share in handling its elements. */

/** The element with this id, which must be there. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return element;
}

/**
 * Whether a button has something to do. Never `disabled`: that would take the focus away from who has just pressed it,
 * and hide the button from a keyboard.
 */
export function setReady(button, ready) {
  button.setAttribute("aria-disabled", String(!ready));
}

/** Give the reader a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun by then, or never will.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
