"""The Engine protocol: what turns one request into a stream of audio, and the errors it may raise."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cosyserve.check.remedies import install
from cosyserve.protocol import EngineConfig, FailureCode, Synthesize


class Engine(Protocol):
    """A loaded model.

    `stream` is called from as many threads as `streams` says; an engine that batches does so behind it.
    It calls `cancelled()` at every step (that is the heartbeat too) and ends early when it answers True.

    An engine may also have `counters`, a mapping of names to whole numbers that only grow: they are read after each
    request and shown in /metrics and /model_info. And it may have `read_as(text: TextConfig)`, called between steps of
    its streams when a reload changes how texts are read; it raises LoadError where the lexicon cannot be read.
    """

    model_type: str
    """What the model is: `CosyVoice2`, `CosyVoice3`, `demo`, ..."""
    sample_rate: int
    """Hz of the audio that `stream` yields."""
    streams: int
    """How many requests it runs at once."""
    details: Mapping[str, str]
    """What an operator wants to see in /model_info: which accelerations are really on, and so on."""

    def warm_up(self) -> None:
        """Run once what the first request would otherwise pay for."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """Yield mono float32 audio, nominally in [-1, 1], in pieces, as early as they exist.

        A generator may return what the request took of the engine, seconds by stage: they are told with its timings.
        Raises RequestError where the request cannot be spoken, EngineBroken where the engine is past use.
        """

    def close(self) -> None:
        """Give back what `load` took."""


class LoadError(Exception):
    """The engine cannot load as configured; the message is one line that names what is missing and the remedy."""


class RequestError(Exception):
    """This request cannot be spoken, by this engine or any copy of it; the message is for the client."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def nothing_to_say() -> RequestError:
    """Of a text that has no letter and no digit, or has none left once it was made ready."""
    return RequestError(FailureCode.UNSPEAKABLE_TEXT, "the text has nothing to say: no letter or digit in any script")


class EngineBroken(Exception):
    """The engine cannot go on (a CUDA context is lost, say): the worker exits and is replaced."""


EngineFactory = Callable[[EngineConfig], Engine]

BUILT_IN = {
    "demo": "cosyserve_workers.demo.factory:create",
    "cosyvoice": "cosyserve_workers.cosyvoice.factory:create",
    "native": "cosyserve_workers.native.loading:create",
}


def load_engine(config: EngineConfig) -> Engine:
    """Import the configured engine's factory by name and call it. Raises LoadError."""
    _check(config)
    return import_factory(config.engine)(config)


def import_factory(engine: str) -> EngineFactory:
    """Import an engine's factory by the engine's name. Raises LoadError."""
    target = BUILT_IN.get(engine, engine)
    module_name, _, factory_name = target.partition(":")
    if not (module_name and factory_name):
        raise LoadError(
            f"engine {engine!r} is not known: use one of {', '.join(BUILT_IN)} or 'package.module:factory' for your own"
        )
    module = _import(engine, module_name)
    factory: EngineFactory | None = getattr(module, factory_name, None)
    if factory is None:
        raise LoadError(f"engine {engine!r}: module {module_name} has no {factory_name!r}")
    return factory


def _import(engine: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise LoadError(_missing_module(engine, error)) from error
    except (ImportError, OSError) as error:
        # Ours is whole; what it imports has lost a shared library, or is of another version.
        if engine not in BUILT_IN:
            raise
        said = " ".join(str(error).split())[:200]
        remedy = install(engine, "--force-reinstall")
        raise LoadError(f"engine {engine!r} cannot be imported ({said}): {remedy}") from error


def _check(config: EngineConfig) -> None:
    """What can be seen without importing anything is told before anything is."""
    from cosyserve.check.engines import ESSENTIAL, engine_problems

    if config.engine not in ESSENTIAL:
        return
    problems = engine_problems(config.engine, Path(config.model_dir))
    if problems:
        more = f" (and {len(problems) - 1} more: `cosyserve check` says all)" if len(problems) > 1 else ""
        raise LoadError(f"{problems[0]}{more}")


def _missing_module(engine: str, error: ModuleNotFoundError) -> str:
    if engine in BUILT_IN:
        return f"engine {engine!r} needs the package {error.name!r}: {install(engine)}"
    return f"engine {engine!r} cannot be imported: no module named {error.name!r}"
