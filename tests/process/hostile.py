"""More engines that misbehave, in ways that only a real process can; see `tests.engines` for the script.

child=K     start a program that outlives the worker and holds what it inherits, before chunk K
fork=K      the same with a bare fork
freeze=K    stop dead with the interpreter's lock held, before chunk K
mute=K      close the result pipe before chunk K, and live on
shout=K     print 20,000 lines before chunk K, on stdout and stderr
babble=K    print what looks like our log lines and is not, before chunk K
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cosyserve.protocol import EngineConfig
from cosyserve.wire.queues import Outbox
from tests.engines import MISBEHAVIOURS, POLL_S, Scripted

WORDS = ("child", "fork", "freeze", "mute", "shout", "babble")
SHOUTED_LINES = 20_000
BABBLE = [
    '{"event": 1, "logger": "x", "level": "info"}',
    '{"event": "x", "logger": 1, "level": "info"}',
    '{"event": "x", "logger": null, "level": []}',
    '{"event": "x", "logger": "x", "level": {}, "worker": 7, "message": 1, "exc_info": true, "stack_info": 1}',
    '{"event": "%s %d", "logger": "x", "level": "info", "args": [1]}',
    '{"event": "x", "logger": "x", "timestamp": 1, "_record": 1, "_from_structlog": false, "positional_args": 1}',
    '{"a":' * 5000,
    '{"a": "\\ud800", "event": "\\ud800", "logger": "x"}',
    '{"' + "x" * 200_000,
]


MISBEHAVIOURS.update(WORDS)


class Hostile(Scripted):
    """Scripted, and worse."""

    def _act(
        self, script: Mapping[str, str], index: int, cancelled: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        for word in WORDS:
            if script.get(word) == str(index):
                getattr(self, f"_{word}")(tell)
        super()._act(script, index, cancelled, tell)

    def _child(self, tell: Callable[[str], None]) -> None:
        child = subprocess.Popen(["sleep", "3600"], close_fds=False)
        tell(f"grandchild {child.pid}")

    def _fork(self, tell: Callable[[str], None]) -> None:
        pid = os.fork()
        if pid == 0:
            while True:
                time.sleep(3600)
        tell(f"grandchild {pid}")

    def _freeze(self, tell: Callable[[str], None]) -> None:
        tell("freeze")
        ctypes.PyDLL(None).pause()

    def _mute(self, tell: Callable[[str], None]) -> None:
        outbox = next(thing for thing in gc.get_objects() if isinstance(thing, Outbox))
        tell("mute")
        os.close(outbox._connection.fileno())
        threading.Event().wait()

    def _shout(self, tell: Callable[[str], None]) -> None:
        for number in range(SHOUTED_LINES):
            print(f"shouting {number}")
            print(json.dumps({"event": f"telling {number}", "logger": "x", "level": "info"}), file=sys.stderr)
        tell("shouted")

    def _babble(self, tell: Callable[[str], None]) -> None:
        for line in BABBLE:
            print(line)
        sys.stdout.buffer.write(b"\xff\xfe\x00 not text \x1b[31m\n")
        print("after the babble", flush=True)
        tell("babbled")


create = Hostile


class ReadyAtTheLastMoment(Scripted):
    """Says Ready only after `<model_dir>/gate` is there, when every message already has its handler."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._folder = Path(config.model_dir)

    @property
    def details(self) -> Mapping[str, str]:  # type: ignore[override]
        (self._folder / "asked").touch()
        while not (self._folder / "gate").exists():
            time.sleep(POLL_S)
        return {}


class DoesNotClose(Scripted):
    """Never returns from `close`, and keeps the interpreter's lock."""

    def close(self) -> None:
        ctypes.PyDLL(None).pause()


class OddDetails(Scripted):
    """Values that only the worker side could unpickle."""

    @property
    def details(self) -> Mapping[str, str]:  # type: ignore[override]
        return {"dtype": _OnlyHere()}  # type: ignore[dict-item]


class _OnlyHere:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _refuse_in_front_end, ("x",)

    def __str__(self) -> str:
        return "float16"


def _refuse_in_front_end(_: str) -> object:
    raise ImportError("the front end must not need what an engine is made of")


def freezes_at_start(config: EngineConfig) -> Scripted:
    """A library that hangs while it loads, with the interpreter's lock held."""
    ctypes.PyDLL(None).pause()
    raise AssertionError


def child_at_start(config: EngineConfig) -> Scripted:
    """A library that compiles something, in a process of its own, while it loads."""
    subprocess.run(["sleep", "3600"], check=True)
    raise AssertionError
