"""Engines that misbehave on request, loaded by real workers as `tests.engines:NAME`.

A request's text is a script of `key=value` words; what it does is told, in order, in the file that `events` names.

chunks=N    how many chunks of 0.1 s to yield (default 3); their samples follow from the seed alone
gate=PATH   wait before chunk `at` until PATH exists, asking `cancelled` all the while
die=K       SIGKILL this worker before chunk K
tear=K      SIGKILL this worker when the first K bytes of a chunk's message are on the pipe
fail=K      raise before chunk K
hang=K      stop dead before chunk K, without a beat
deaf=K      from chunk K on never ask `cancelled`, and wait for the gate
broken=K    raise EngineBroken before chunk K
events=PATH append a line for each thing that happens
"""

import gc
import os
import pickle
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosyserve.protocol import Chunk, EngineConfig, FailureCode, Synthesize
from cosyserve.queues import Outbox
from cosyserve_workers.engine import EngineBroken, LoadError, RequestError

CHUNK_SAMPLES = 2400
SAMPLE_RATE = 24_000
POLL_S = 0.005


def expected_pcm(seed: int, chunks: int) -> bytes:
    """What a script with this seed and so many chunks says."""
    return b"".join(np.rint(_samples(seed, index) * 32767).astype("<i2").tobytes() for index in range(chunks))


def _samples(seed: int, index: int) -> NDArray[np.float32]:
    return np.random.default_rng([seed, index]).uniform(-0.5, 0.5, CHUNK_SAMPLES).astype(np.float32)


class Scripted:
    """Does what the text says."""

    model_type = "scripted"
    sample_rate = SAMPLE_RATE
    details: Mapping[str, str] = {"kind": "test"}

    def __init__(self, config: EngineConfig) -> None:
        self.streams = config.streams or 10

    def warm_up(self) -> None:
        pass

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        script = dict(word.partition("=")[::2] for word in request.text.split())
        tell = _teller(script.get("events"), request)
        tell("start")
        try:
            for index in range(int(script.get("chunks", "3"))):
                self._act(script, index, cancelled, tell)
                if cancelled():
                    tell("cancelled")
                    return
                tell(f"chunk {index}")
                yield _samples(request.seed, index)
            tell("end")
        finally:
            tell("closed")

    def _act(
        self, script: Mapping[str, str], index: int, cancelled: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        if script.get("die") == str(index):
            tell("die")
            os.kill(os.getpid(), signal.SIGKILL)
        if "tear" in script and index == 1:
            _tear(int(script["tear"]))
        if script.get("fail") == str(index):
            raise RuntimeError("told to fail")
        if script.get("refuse") == str(index):
            raise RequestError(FailureCode.UNSPEAKABLE_TEXT, "told to refuse")
        if script.get("broken") == str(index):
            raise EngineBroken("told to break")
        if script.get("hang") == str(index):
            tell("hang")
            threading.Event().wait()
        if "gate" in script and index == int(script.get("at", "1")):
            tell("gate")
            while not Path(script["gate"]).exists() and ("deaf" in script or not cancelled()):
                time.sleep(POLL_S)

    def close(self) -> None:
        pass


def _teller(path: str | None, request: Synthesize) -> Callable[[str], None]:
    def tell(event: str) -> None:
        if path is not None:
            with Path(path).open("a") as events:
                events.write(f"{event} seed={request.seed} pid={os.getpid()}\n")

    return tell


def _tear(size: int) -> None:
    """Die as a kill in the middle of a write would leave it."""
    outbox = next(thing for thing in gc.get_objects() if isinstance(thing, Outbox))
    while outbox._waiting:
        time.sleep(POLL_S)
    payload = pickle.dumps(Chunk(1, bytes(64)), protocol=5)
    frame = struct.pack("!i", len(payload)) + payload
    os.write(outbox._connection.fileno(), frame[:size])
    os.kill(os.getpid(), signal.SIGKILL)


create = Scripted


def exits_at_start(config: EngineConfig) -> Scripted:
    """A worker that dies before it is ready, with a last word on stderr."""
    print("last words of a worker", file=sys.stderr, flush=True)
    os._exit(3)


def hangs_at_start(config: EngineConfig) -> Scripted:
    """A worker that is never ready."""
    threading.Event().wait()
    raise AssertionError


def cannot_load(config: EngineConfig) -> Scripted:
    """A configuration that cannot work."""
    raise LoadError("the weights are missing: get them with `make model`")


def raises_at_start(config: EngineConfig) -> Scripted:
    """A bug in a factory."""
    raise ValueError("a bug in the factory")


def exits_once(config: EngineConfig) -> Scripted:
    """Dies at start until the file `<model_dir>/healed` exists."""
    if not (Path(config.model_dir) / "healed").exists():
        os._exit(4)
    return Scripted(config)


class FailsEveryJob(Scripted):
    """An engine that is up and useless, and knows it when asked."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._proven = False

    def warm_up(self) -> None:
        if self._proven:
            raise RuntimeError("the self-test fails")
        self._proven = True

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        raise RuntimeError("this engine fails every job")
