"""The engine `native`: CosyVoice2 from its published weights, by our own inference.

The way in is `create`. Who goes next: `scheduler`. What a turn does: `networks`. What crosses threads: `driver`.
"""

from cosyserve.protocol import EngineConfig
from cosyserve_workers.native.engine import NativeEngine
from cosyserve_workers.native.loading import load


def create(config: EngineConfig) -> NativeEngine:
    """Load the model folder of the configuration. Raises LoadError."""
    return load(config)
