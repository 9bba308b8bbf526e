"""What the tests of the engine `cosyvoice` share: the library, the engine on it, requests, and taps on its methods."""

import importlib.metadata
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from cosyserve.protocol import EngineConfig, Mode, Prompt, Synthesize, TextConfig

torch = pytest.importorskip("torch")

LIBRARY = [
    # The library's own, and its dependencies'; those that pytest itself raises stay errors.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]
TEXT = "收到好友从远方寄来的生日礼物，那份意外的惊喜与深深的祝福让我心中充满了甜蜜的快乐。"
SHORT = "好。"
TRANSCRIPT = "希望你以后能够做的比我还好呦。"
INSTRUCTION = "用四川话说这句话"
RATE = 16_000

_numbers = itertools.count(1)


def library_dir() -> Path:
    """The folder of the packages `cosyvoice` and `matcha`: the snapshot inside the wheel `xinference`."""
    try:
        distribution = importlib.metadata.distribution("xinference")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the CosyVoice library's snapshot is not installed")
    return Path(str(distribution.locate_file("xinference/thirdparty")))


def config(model_dir: Path, **changes: Any) -> EngineConfig:
    """The engine's configuration for that folder. Texts are normalised by the library, which tests compare with."""
    usual = {"source_dir": str(library_dir()), "text": TextConfig("wetext")}
    return EngineConfig("cosyvoice", str(model_dir), **{**usual, **changes})


def prompt(hertz: float = 220.0, seconds: float = 2.1) -> Prompt:
    """A voice at the library's own rate: each pitch another."""
    times = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * harmonic * times) / harmonic for harmonic in (1, 2, 3, 5))
    samples = (0.2 * tone * (1 + np.sin(2 * np.pi * 3 * times)) / 2).astype(np.float32)
    return Prompt(samples, RATE, f"{hertz}-{seconds}")


def request(mode: Mode = Mode.CROSS_LINGUAL, text: str = TEXT, **changes: Any) -> Synthesize:
    """A job as the front end would send it."""
    fields: dict[str, Any] = {
        "instruction": f"{INSTRUCTION}<|endofprompt|>" if mode is Mode.INSTRUCT2 else "",
        "prompt_text": TRANSCRIPT if mode is Mode.ZERO_SHOT else "",
        "prompt": prompt(),
        "speed": 1.0,
        "seed": 7,
        **changes,
    }
    return Synthesize(next(_numbers), text, mode, **fields)


def never() -> bool:
    """Not cancelled."""
    return False


def whole(chunks: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    """A stream's sound in one piece."""
    return np.concatenate(list(chunks))


class Tap:
    """The arguments of every call of a method, and the thread it came from, while the method does its work."""

    def __init__(self, owner: Any, name: str) -> None:
        self.calls: list[dict[str, Any]] = []
        self.threads: list[int] = []
        self._owner, self._name = owner, name
        self._method: Callable[..., Any] = getattr(owner, name)

    def __enter__(self) -> Self:
        setattr(self._owner, self._name, self._call)
        return self

    def __exit__(self, *_: object) -> None:
        delattr(self._owner, self._name)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        # Copies: the library adds to lengths in place.
        self.calls.append({name: value.clone() if torch.is_tensor(value) else value for name, value in kwargs.items()})
        self.threads.append(threading.get_ident())
        return self._method(*args, **kwargs)

    def of_thread(self, ident: int | None) -> list[dict[str, Any]]:
        """The calls that came from one thread."""
        return [call for call, thread in zip(self.calls, self.threads, strict=True) if thread == ident]


@contextmanager
def running(*jobs: Callable[[], None]) -> Iterator[list[threading.Thread]]:
    """Threads that run these, joined at the end."""
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()
