"""The way into the engine `demo`."""

from cosyserve.check.remedies import install
from cosyserve.protocol import DEFAULT_STREAMS, EngineConfig
from cosyserve_workers.engine import Engine, EngineBroken, LoadError

REMEDY = install("demo")


def create(config: EngineConfig) -> Engine:
    """Load espeak-ng from the package `espeakng-loader`. Raises LoadError."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise LoadError(f"the engine 'demo' needs the package espeakng-loader: {REMEDY}") from error

    from cosyserve_workers.demo.engine import DemoEngine
    from cosyserve_workers.demo.espeak import Espeak

    try:
        espeak = Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
    except (OSError, AttributeError, RuntimeError, EngineBroken) as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"the engine 'demo' cannot load espeak-ng ({reason}): {REMEDY}") from error
    return DemoEngine(espeak, config.streams or DEFAULT_STREAMS, config.text)
