"""The real engine `cosyvoice`, whose last chunk waits for a file to be there: `tests.http.cosyvoice_gate:create`."""

import os
import time
from pathlib import Path
from typing import Any

from cosyserve.protocol import EngineConfig
from cosyserve_workers.cosyvoice import factory
from cosyserve_workers.cosyvoice.engine import CosyVoiceEngine

GATE = "COSYTEST_GATE"
POLL_S = 0.01


def create(config: EngineConfig) -> CosyVoiceEngine:
    """Load the engine and put the gate before its last flow call."""
    gate = Path(os.environ[GATE])
    engine = factory.create(config)
    engine.warm_up()
    flow = engine.library.model.flow
    solve = flow.inference

    def wait_then_solve(**arguments: Any) -> Any:
        while arguments["finalize"] and not gate.exists():
            time.sleep(POLL_S)
        return solve(**arguments)

    flow.inference = wait_then_solve
    engine.warm_up = lambda: None  # type: ignore[method-assign]
    return engine
