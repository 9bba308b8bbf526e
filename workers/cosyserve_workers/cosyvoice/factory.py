"""The way into the engine `cosyvoice`."""

from cosyserve.protocol import EngineConfig
from cosyserve_workers.cosyvoice.accelerations import Machine
from cosyserve_workers.cosyvoice.engine import CosyVoiceEngine
from cosyserve_workers.cosyvoice.loading import load


def create(config: EngineConfig) -> CosyVoiceEngine:
    """Load the model folder of the configuration. Raises LoadError."""
    return CosyVoiceEngine(load(config, Machine.here(config.device)), config.streams, config.text)
