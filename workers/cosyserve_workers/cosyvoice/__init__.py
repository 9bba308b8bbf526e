"""The engine `cosyvoice`: CosyVoice2 and CosyVoice3, run by the CosyVoice library, with TensorRT where it is.

The way in is `create`. What becomes of unusual texts: `text`. Which accelerations are asked for, and where plans are
kept: `accelerations`. How a request runs, and why not in the library's own loop: `speech`.
"""

from cosyserve.protocol import EngineConfig
from cosyserve_workers.cosyvoice.accelerations import Machine
from cosyserve_workers.cosyvoice.engine import CosyVoiceEngine
from cosyserve_workers.cosyvoice.loading import load


def create(config: EngineConfig) -> CosyVoiceEngine:
    """Load the model folder of the configuration. Raises LoadError."""
    return CosyVoiceEngine(load(config, Machine.here()), config.streams)
