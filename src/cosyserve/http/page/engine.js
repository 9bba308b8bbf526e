/** What the engine behind the server cannot do is said where one would try it; what its model is known to do, offered. */

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

/** instructions: those that the model is known to follow, as /model_info has them; a reader may write others. */
export function offerInstructions(instructions) {
  byId("instructions").replaceChildren(...instructions.map(({ name, instruction }) => new Option(name, instruction)));
}
