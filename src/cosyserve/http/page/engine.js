/** What the engine behind the server cannot do is said where one would try it. */

import { byId } from "./dom.js";
import { say } from "./language.js";

const DEMO_NOTES = {
  engine: "demoEngine",
  "clone-note": "demoNoClone",
  "instruction-note": "demoNoInstruction",
  "seed-note": "demoNoSeed",
};

/** engine: as /model_info has it. */
export function noteEngine(engine) {
  if (engine !== "demo") return;
  for (const [id, key] of Object.entries(DEMO_NOTES)) say(byId(id), key);
}
