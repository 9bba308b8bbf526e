"""The real server in a process of its own, on a real socket, for tests.

Nothing here asserts a time: whoever waits does it through `wait_for`, whose deadline only ends a test that has failed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import httpx

from tests import sounds
from tests.faults import unannounced

ROOT = Path(__file__).parents[1]
DEADLINE_S = 60.0
LOADING_S = 300.0
"""Importing and loading a model on a busy machine; only a test that has failed waits so long."""
POLL_S = 0.01
MAX_STEP_S = 0.05
"""What one step of the event loop may take of its thread's own time."""

T = TypeVar("T")
Tables = Mapping[str, Mapping[str, object]]


def wait_for(probe: Callable[[], T], what: str, deadline_s: float = DEADLINE_S, poll_s: float = POLL_S) -> T:
    """Ask until the answer is true, and return it."""
    give_up_at = time.monotonic() + deadline_s
    while not (answer := probe()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"waited in vain for {what}; the last answer was {answer!r}")
        time.sleep(poll_s)
    return answer


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Server:
    """`python -m cosyserve serve` with the scripted engine, up when entered and gone when left.

    settings: sections of config.toml, over the harness's own (a free port, JSON logs, a short grace, the engine
    `tests.engines:create`, a default prompt). env: more environment. await_health: the /health status to wait for when
    entered. loads_model: whether that may take minutes. flags: more command line. cwd: its working directory,
    where that is not the folder of its files. module: what is run in place of `cosyserve`. watch_steps: measure each
    step of the event loop, see `tests.stepwatch`.

    A traceback in its log that the test did not `announce` fails the test, and so does a step over MAX_STEP_S.
    """

    def __init__(
        self,
        tmp_path: Path,
        settings: Tables | None = None,
        env: Mapping[str, str] | None = None,
        *,
        await_health: str = "ok",
        loads_model: bool = False,
        flags: tuple[str, ...] = (),
        cwd: Path | None = None,
        module: str = "cosyserve",
        watch_steps: bool = False,
    ) -> None:
        self._folder = tmp_path
        self._cwd = cwd or tmp_path
        self._settings = settings or {}
        self._env = env or {}
        self._await_health = await_health
        # Asked more often, the front end would take the processor that the model loads on.
        self._health_deadline_s, self._health_poll_s = (LOADING_S, 0.5) if loads_model else (DEADLINE_S, POLL_S)
        self._flags = flags
        self._module = module
        self._steps = tmp_path / "steps.json" if watch_steps else None
        self._log = tmp_path / "server.log"
        self._process: subprocess.Popen[bytes]
        self._client = httpx.Client(
            timeout=LOADING_S if loads_model else DEADLINE_S,
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._announced: list[str] = []
        self.url = ""
        self.port = 0

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder

    @property
    def pid(self) -> int:
        """The front end's process."""
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self.check_log()

    def open_log(self) -> IO[bytes]:
        """Where its stdout and stderr go."""
        return self._log.open("ab")

    def announce(self, words: str) -> None:
        """From now on, tracebacks with these words in them are what the test is about."""
        self._announced.append(words)

    def check_log(self) -> None:
        """Fail where the server met a fault that nobody announced, or kept everybody waiting."""
        assert not (faults := unannounced(self.output(), self._announced)), "\n".join(faults)
        if self._steps is not None:
            longest = json.loads(self._steps.read_text())
            assert longest["cpu_s"] <= MAX_STEP_S, longest

    def start(self) -> None:
        """Spawn it, and wait until it has told its address and /health says what is awaited."""
        config = self.configure({})
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COSYSERVE_")}
        with self.open_log() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program(config), *self._flags],
                cwd=self._cwd,
                env={**inherited, "PYTHONPATH": str(ROOT), **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.url = wait_for(self._address, "the server's address", self._health_deadline_s)
            self.port = int(self.url.rpartition(":")[2])
            wait_for(
                lambda: self.health() == self._await_health,
                f"/health to say {self._await_health!r}",
                self._health_deadline_s,
                self._health_poll_s,
            )
        except BaseException:
            self.stop()
            print(self.output())
            raise

    def configure(self, settings: Tables) -> Path:
        """Write its configuration with these settings over those that it was made with. Returns the file."""
        config = self._folder / "config.toml"
        config.write_text(_toml(_merge(self._defaults(), self._settings, settings)), encoding="utf-8")
        return config

    def _program(self, config: Path) -> list[str]:
        module = [self._module] if self._steps is None else ["tests.stepwatch", str(self._steps)]
        return [*module, "serve", "--config", str(config)]

    def stop(self) -> None:
        """End it, by force where it does not go."""
        try:
            if self._process.poll() is None:
                self.terminate()
                self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._client.close()

    def signal(self, number: int) -> None:
        """Send the front end a signal."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.signal(signal.SIGTERM)

    def wait_exit(self) -> int:
        """Wait until the front end is gone. Returns its exit status."""
        return self._process.wait(DEADLINE_S)

    def output(self) -> str:
        """Everything on stderr and stdout so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def logs(self, event: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines of the log so far, or those of one event."""
        lines = [json.loads(line) for line in self.output().splitlines(keepends=True) if _whole(line)]
        return [line for line in lines if event is None or line["event"] == event]

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """GET."""
        return self._client.get(self.url + path, headers=headers)

    def post(self, path: str, headers: Mapping[str, str] | None = None, **fields: object) -> httpx.Response:
        """POST a form; bytes are sent as files, all else as text."""
        return self._client.post(self.url + path, headers=headers, **_form(fields))

    def delete(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """DELETE."""
        return self._client.delete(self.url + path, headers=headers)

    def health(self) -> str:
        """The status that /health tells; "" where nobody answers."""
        try:
            status: str = self.get("/health").json()["status"]
        except httpx.TransportError:
            return ""
        return status

    def model_info(self) -> dict[str, Any]:
        """What /model_info tells."""
        info: dict[str, Any] = self.get("/model_info").json()
        return info

    def worker_pids(self) -> list[int]:
        """The workers' processes, in order."""
        return [worker["pid"] for worker in self.model_info()["workers"]]

    def await_idle(self) -> None:
        """Wait until no stream is in use, nobody is in line and no sound waits for a listener."""
        held = ("running", "waiting", "buffered_bytes")
        wait_for(lambda: not any(map(self.model_info().get, held)), "an idle server")

    def speak(self, *, headers: Mapping[str, str] | None = None, **fields: object) -> httpx.Response:
        """POST /synthesize and read the answer whole; bytes are sent as files, all else as text."""
        return self.post("/synthesize", headers=headers, **fields)

    def stream(
        self, *, headers: Mapping[str, str] | None = None, **fields: object
    ) -> AbstractContextManager[httpx.Response]:
        """The same, entered as soon as the answer's head is there."""
        return self._client.stream("POST", self.url + "/synthesize", headers=headers, **_form(fields))

    def _defaults(self) -> Tables:
        prompt = self._folder / "prompt.wav"
        prompt.write_bytes(sounds.prompt())
        return {
            "server": {"port": 0, "shutdown_grace_s": 1},
            "model": {"engine": "tests.engines:create"},
            "defaults": {"prompt_wav": str(prompt)},
            "voices": {"dir": str(self._folder / "voices")},
            "log": {"format": "json"},
        }

    def _address(self) -> str:
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with status {self._process.returncode}")
        announced = (line["event"].removeprefix("serving on ") for line in self.logs())
        return next((address for address in announced if address.startswith("http://")), "")


class Script:
    """A text for the scripted engine, with the gate that holds it and the file in which it tells what happens.

    words: the script's, see `tests.engines`. The gate stands in the way only where `at` is among them.
    """

    def __init__(self, folder: Path, name: str = "script", **words: object) -> None:
        self._gate = folder / f"{name}.gate"
        self._events = folder / f"{name}.events"
        gate = {"gate": self._gate} if "at" in words else {}
        script: dict[str, object] = {**words, **gate, "events": self._events}
        self.text = " ".join(f"{key}={value}" for key, value in script.items())

    def open_gate(self) -> None:
        """Let it go on."""
        self._gate.touch()

    def events(self) -> list[str]:
        """What has happened, in order."""
        return [line.partition(" seed=")[0] for line in self.lines()]

    def lines(self) -> list[str]:
        """The same as they were written, each with its request's seed and the worker's pid."""
        return self._events.read_text().splitlines() if self._events.exists() else []

    def await_event(self, event: str) -> None:
        """Wait until it has happened."""
        wait_for(lambda: event in self.events(), f"the event {event!r}")


def _form(fields: Mapping[str, object]) -> dict[str, Any]:
    files = {name: (f"{name}.wav", value) for name, value in fields.items() if isinstance(value, bytes)}
    data = {name: str(value) for name, value in fields.items() if not isinstance(value, bytes)}
    return {"data": data, "files": files} if files else {"data": data}


def _whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("}\n")


def _merge(*sources: Tables) -> dict[str, dict[str, object]]:
    merged: dict[str, dict[str, object]] = {}
    for source in sources:
        for section, table in source.items():
            merged.setdefault(section, {}).update(table)
    return merged


def _toml(tables: Tables) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's too."""
    sections = (
        f"[{section}]\n" + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
        for section, table in tables.items()
    )
    return "\n".join(sections)
