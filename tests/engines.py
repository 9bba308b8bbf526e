"""Engines that misbehave on request, loaded by real workers as `tests.engines:NAME`.

A request's text is a script of `key=value` words; what it does is told, in order, in the file that `events` names.

chunks=N    how many chunks of 0.1 s to yield (default 3); their samples follow from the seed alone
length=N    make a chunk N samples long
tone=HZ     yield a sine instead, at half of full scale
gate=PATH   wait before chunk `at` (default 1), and before what else is to happen there, until PATH exists, asking
            `cancelled` all the while
die=K       SIGKILL this worker before chunk K
tear=K      SIGKILL this worker when the first K bytes of a chunk's message are on the pipe; -K leaves the last K out
torn=N      which chunk that is (default 1)
fail=K      raise before chunk K
refuse=K    raise RequestError before chunk K
hang=K      stop dead before chunk K, without a beat
deaf=K      from chunk K on never ask `cancelled`, and wait for the gate
broken=K    raise EngineBroken before chunk K
shares=S    say at the end that its share of a stage `decode` was S seconds
stray=K     send what is no message before chunk K
once=PATH   misbehave only where PATH is not there yet, and make it
events=PATH append a line for each thing that happens, the request as it came among them
"""

import gc
import itertools
import json
import logging
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosyserve.protocol import Chunk, EngineConfig, FailureCode, Synthesize, split_system_prompt
from cosyserve.wire.queues import Outbox
from cosyserve_workers.engine import EngineBroken, LoadError, RequestError

log = logging.getLogger(__name__)

CHUNK_SAMPLES = 2400
SAMPLE_RATE = 24_000
POLL_S = 0.005
LATE_S = 3.0
"""Long beside what a busy machine adds to it."""

MISBEHAVIOURS = {"die", "tear", "fail", "refuse", "hang", "deaf", "broken", "stray"}


def expected_pcm(seed: int, chunks: int, length: int = CHUNK_SAMPLES) -> bytes:
    """What a script with this seed and so many chunks says."""
    return b"".join(np.rint(_noise(seed, index, length) * 32767).astype("<i2").tobytes() for index in range(chunks))


def _noise(seed: int, index: int, length: int) -> NDArray[np.float32]:
    return np.random.default_rng([seed, index]).uniform(-0.5, 0.5, length).astype(np.float32)


def _tone(hertz: float, index: int, length: int) -> NDArray[np.float32]:
    times = np.arange(index * length, (index + 1) * length) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def _samples(script: Mapping[str, str], seed: int, index: int) -> NDArray[np.float32]:
    length = int(script.get("length", CHUNK_SAMPLES))
    return _tone(float(script["tone"]), index, length) if "tone" in script else _noise(seed, index, length)


class Scripted:
    """Does what the text says."""

    model_type = "scripted"
    sample_rate = SAMPLE_RATE
    # Named as the fields of a log record are: what an engine calls its details is its own affair.
    details: Mapping[str, str] = {"kind": "test", "worker": "w", "device": "d", "event": "e", "level": "l"}

    def __init__(self, config: EngineConfig) -> None:
        self.streams = config.streams or 10

    def warm_up(self) -> None:
        pass

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        return self._play(request, cancelled)

    def _play(
        self, request: Synthesize, cancelled: Callable[[], bool]
    ) -> Generator[NDArray[np.float32], None, Mapping[str, float] | None]:
        system_prompt, words = split_system_prompt(request.text)
        script = _read(words)
        tell = _teller(script.get("events"), request)
        tell("start")
        log.debug("the script begins")
        if "tear" in script:
            _tear(request.job_id, int(script.get("torn", "1")), int(script["tear"]))
        tell(f"request {_as_json(request)}")
        if system_prompt:
            tell(f"system_prompt {system_prompt}")
        try:
            for index in range(int(script.get("chunks", "3"))):
                self._act(script, index, cancelled, tell)
                if cancelled():
                    tell("cancelled")
                    return None
                tell(f"chunk {index}")
                yield _samples(script, request.seed, index)
            tell("end")
            return {"decode": float(script["shares"])} if "shares" in script else None
        finally:
            tell("closed")

    def _act(
        self, script: Mapping[str, str], index: int, cancelled: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        if "gate" in script and index == int(script.get("at", "1")):
            tell("gate")
            while not Path(script["gate"]).exists() and ("deaf" in script or not cancelled()):
                time.sleep(POLL_S)
        if script.get("die") == str(index):
            tell("die")
            os.kill(os.getpid(), signal.SIGKILL)
        if script.get("fail") == str(index):
            raise RuntimeError("told to fail")
        if script.get("refuse") == str(index):
            raise RequestError(FailureCode.UNSPEAKABLE_TEXT, "told to refuse")
        if script.get("broken") == str(index):
            raise EngineBroken("told to break")
        if script.get("stray") == str(index):
            _outbox().put("what is no message")
        if script.get("hang") == str(index):
            tell("hang")
            threading.Event().wait()

    def close(self) -> None:
        pass


def _read(text: str) -> dict[str, str]:
    script = dict(word.partition("=")[::2] for word in text.split())
    if "once" in script:
        try:
            Path(script["once"]).touch(exist_ok=False)
        except FileExistsError:
            return {word: value for word, value in script.items() if word not in MISBEHAVIOURS}
    return script


def _as_json(request: Synthesize) -> str:
    return json.dumps(
        {
            "mode": request.mode,
            "instruction": request.instruction,
            "prompt_text": request.prompt_text,
            "prompt_rate": request.prompt.sample_rate,
            "prompt_samples": len(request.prompt.samples),
            "speed": request.speed,
            "language": request.language,
            "pronunciations": dict(request.pronunciations),
            "trace": request.trace and (request.trace.parent, request.trace.state),
        }
    )


def _teller(path: str | None, request: Synthesize) -> Callable[[str], None]:
    def tell(event: str) -> None:
        if path is not None:
            with Path(path).open("a") as events:
                events.write(f"{event} seed={request.seed} pid={os.getpid()}\n")

    return tell


def _outbox() -> Outbox:
    """This worker's."""
    return next(thing for thing in gc.get_objects() if isinstance(thing, Outbox))


def _tear(job_id: int, index: int, size: int) -> None:
    """Have a chunk's message torn as a kill in the middle of a write would leave it."""
    connection = _outbox()._connection
    send, before = connection.send, itertools.count()

    def torn_send(message: object) -> None:
        if isinstance(message, list):
            for one in message:
                torn_send(one)
            return
        if not isinstance(message, Chunk) or message.job_id != job_id or next(before) != index:
            send(message)
            return
        payload = bytes(ForkingPickler.dumps(message))
        os.write(connection.fileno(), (struct.pack("!i", len(payload)) + payload)[:size])
        os.kill(os.getpid(), signal.SIGKILL)

    connection.send = torn_send  # type: ignore[method-assign, assignment]


create = Scripted


class Newer(Scripted):
    """One that says it is CosyVoice3."""

    model_type = "CosyVoice3"


class Late(Scripted):
    """Takes LATE_S before each first chunk, whatever is to be said."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        time.sleep(LATE_S)
        yield from super().stream(request, cancelled)


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


def waits_at_start(config: EngineConfig) -> Scripted:
    """Loads until the file `<model_dir>/go` exists."""
    while not (Path(config.model_dir) / "go").exists():
        time.sleep(POLL_S)
    return Newer(config)


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
