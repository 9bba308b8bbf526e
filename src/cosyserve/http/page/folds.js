/** What is folded where there is little room is open where there is enough; readers fold and open it as they like. */

const narrow = window.matchMedia("(max-width: 40rem)");

/** Fold by the window's width, now and whenever it becomes narrow or wide. */
export function beginFolds() {
  const fold = () => document.querySelectorAll("details:not(.always)").forEach((details) => (details.open = !narrow.matches));
  narrow.addEventListener("change", fold);
  fold();
}
