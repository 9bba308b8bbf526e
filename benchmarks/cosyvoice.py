"""The engine `cosyvoice` beside the library's own kind of server, on one checkpoint, in one run.

    python benchmarks/cosyvoice.py --model-dir DIR --source-dir CHECKOUT

Two servers are started and both stay up: ours, and a minimal application that hands the library's generator to a
StreamingResponse, as the servers that come with the library do. They are asked in turns, never at once, by 1, 4 and 10
clients that begin together. Per client: seconds to the first audio byte. Per round: seconds of audio made per second.
A ratio is taken in each round, between the two servers' turns in it; what is printed is the median of the rounds, and
in brackets the least and the greatest.

Then, in one process, voices that our engine has not heard before are each used twice, and what is measured is processor
time, which other work on the machine does not disturb: to the first chunk, and in the two ONNX sessions.
"""

import argparse
import contextlib
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
TEXT = "收到好友从远方寄来的生日礼物，那份意外的惊喜让我心中充满了甜蜜的快乐。"
RATE = 24_000
PROMPT_RATE = 16_000
PROMPT_S = 4.0
STARTING_S = 900.0


@dataclass(frozen=True)
class Round:
    """first: seconds to the first byte, one a client. rate: seconds of audio per second, all clients together."""

    first: list[float]
    rate: float


def main() -> None:
    """Run the comparison, or, with --serve-library, the library's server alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--source-dir", type=Path, required=True, help="the folder with the package cosyvoice")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 10], help="none for the voices alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--voices", type=int, default=10, help="new voices that are used twice")
    parser.add_argument("--streams", type=int, default=0, help="streams of our worker; 0 leaves it to the engine")
    parser.add_argument("--tensorrt", default="auto")
    parser.add_argument("--serve-library", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--voices-alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve_library:
        serve_library(args)
    elif args.voices_alone:
        print_voices(args)
    else:
        compare(args)


# The comparison


def compare(args: argparse.Namespace) -> None:
    """Ask both servers in turns, and print the table."""
    prompt = prompt_wav()
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder), args) as urls:
        for url in urls.values():
            ask(url, prompt, Barrier(1))
        print("| clients | | cosyserve | the library's server | ratio |")
        print("|---|---|---|---|---|")
        for clients in args.clients:
            rounds: list[dict[str, Round]] = []
            for number in range(args.rounds):
                # Whoever comes second in a round comes first in the next.
                names = list(urls)[:: -1 if number % 2 else 1]
                rounds.append({name: one_round(urls[name], prompt, clients) for name in names})
            print_rows(clients, [(made["cosyserve"], made["library"]) for made in rounds])
    flags = ["--model-dir", str(args.model_dir), "--source-dir", str(args.source_dir), "--voices", str(args.voices)]
    subprocess.run([sys.executable, __file__, *flags, "--voices-alone"], env=environment(), check=True)


def print_rows(clients: int, rounds: list[tuple[Round, Round]]) -> None:
    """One row a figure. Each round: ours, the library's. A ratio above 1 is in our favour."""
    figures: list[tuple[str, str, Callable[[Round], float], bool]] = [
        ("first byte, median client", " s", lambda made: statistics.median(made.first), True),
        ("first byte, last client", " s", lambda made: max(made.first), True),
        ("audio seconds per second", "", lambda made: made.rate, False),
    ]
    for name, unit, figure, smaller_is_better in figures:
        ours = [figure(own) for own, _ in rounds]
        theirs = [figure(other) for _, other in rounds]
        pairs = zip(theirs, ours, strict=True) if smaller_is_better else zip(ours, theirs, strict=True)
        shown = " | ".join(f"{statistics.median(values):.2f}{unit}" for values in (ours, theirs))
        print(f"| {clients} | {name} | {shown} | {spread([above / below for above, below in pairs])} |")
    sys.stdout.flush()


def spread(values: list[float], digits: int = 2) -> str:
    """Median, least and greatest."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low}–{high}]"


def one_round(url: str, prompt: bytes, clients: int) -> Round:
    """All clients at once, to the last byte."""
    together = Barrier(clients + 1)
    with ThreadPoolExecutor(clients) as pool:
        answers = [pool.submit(ask, url, prompt, together) for _ in range(clients)]
        together.wait()
        started = time.monotonic()
        results = [answer.result() for answer in answers]
    seconds = sum(size for _, size in results) / 2 / RATE
    return Round([first for first, _ in results], seconds / (time.monotonic() - started))


def ask(url: str, prompt: bytes, together: Barrier) -> tuple[float, int]:
    """Seconds to the first byte, and how many bytes came."""
    with httpx.Client(timeout=None, trust_env=False) as client:
        together.wait()
        started, first, size = time.monotonic(), 0.0, 0
        files = {"prompt_wav": ("prompt.wav", prompt)}
        with client.stream("POST", f"{url}/synthesize", data={"text": TEXT}, files=files) as answer:
            answer.raise_for_status()
            for piece in answer.iter_raw():
                first = first or time.monotonic() - started
                size += len(piece)
    return first, size


def prompt_wav(hertz: float = 180) -> bytes:
    """Make a voice: a buzz with a melody."""
    times = np.arange(round(PROMPT_S * PROMPT_RATE)) / PROMPT_RATE
    phase = 2 * np.pi * np.cumsum(hertz + 60 * np.sin(2 * np.pi * 0.7 * times)) / PROMPT_RATE
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 8))
    file = io.BytesIO()
    soundfile.write(file, 0.2 * buzz * (1.2 + np.sin(2 * np.pi * 4 * times)) / 2, PROMPT_RATE, format="WAV")
    return file.getvalue()


def environment() -> dict[str, str]:
    """For processes that import cosyserve from this checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / side) for side in ("src", "words", "workers")])}


@contextlib.contextmanager
def servers(folder: Path, args: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Both servers, up: their addresses."""
    ports = [free_port(), free_port()]
    commands = {"cosyserve": our_command(folder, ports[0], args), "library": library_command(ports[1], args)}
    with contextlib.ExitStack() as running:
        for name, command in commands.items():
            log = running.enter_context((folder / f"{name}.log").open("wb"))
            running.callback(end, subprocess.Popen(command, env=environment(), stdout=log, stderr=log))
        urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(commands, ports, strict=True)}
        for name, url in urls.items():
            wait_until_up(url, folder / f"{name}.log")
        yield urls


def our_command(folder: Path, port: int, args: argparse.Namespace) -> list[str]:
    """`cosyserve serve` with the engine `cosyvoice`."""
    model = {
        "engine": "cosyvoice",
        "dir": str(args.model_dir.absolute()),
        "source_dir": str(args.source_dir.absolute()),
        "tensorrt": args.tensorrt,
        "streams": args.streams,
    }
    limits = dict.fromkeys(("wait_timeout_s", "first_chunk_timeout_s", "next_chunk_timeout_s"), 3600)
    sections = {
        "server": {"port": port},
        "limits": {"max_concurrency": max(args.clients, default=1), **limits},
        "workers": {"stall_timeout_s": 3600},
        "model": model,
        "defaults": {"prompt_wav": ""},
    }
    lines = [
        line
        for section, table in sections.items()
        for line in (f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))
    ]
    (folder / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    return [sys.executable, "-m", "cosyserve", "serve", "--config", str(folder / "config.toml")]


def library_command(port: int, args: argparse.Namespace) -> list[str]:
    """This file again, as the other server."""
    flags = ["--model-dir", str(args.model_dir), "--source-dir", str(args.source_dir), "--tensorrt", args.tensorrt]
    return [sys.executable, __file__, *flags, "--serve-library", str(port)]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def wait_until_up(url: str, log: Path) -> None:
    """Poll /health."""
    give_up_at = time.monotonic() + STARTING_S
    while time.monotonic() < give_up_at:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=STARTING_S).status_code == 200:
                return
        time.sleep(0.2)
    sys.exit(f"{url} does not come up:\n{log.read_text(errors='replace')[-4000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, by force where it does not go."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# What a known voice saves


def print_voices(args: argparse.Namespace) -> None:
    """Print the first chunk's cost with a voice never heard before and with the same voice again."""
    from cosyserve.protocol import EngineConfig, Mode, Prompt, Synthesize
    from cosyserve_workers.cosyvoice.factory import create

    engine = create(EngineConfig("cosyvoice", str(args.model_dir), str(args.source_dir), tensorrt=args.tensorrt))
    engine.warm_up()
    frontend = engine.library.frontend
    sessions = [Stopwatch(frontend, name) for name in ("campplus_session", "speech_tokenizer_session")]

    def first_chunk(voice: Prompt) -> tuple[float, float]:
        """Milliseconds of processor time in all, and in the sessions."""
        before, started = sum(session.seconds for session in sessions), time.process_time()
        chunks = engine.stream(Synthesize(0, TEXT, Mode.CROSS_LINGUAL, "", "", voice, 1.0, 1), lambda: False)
        next(iter(chunks))
        took = time.process_time() - started
        return 1000 * took, 1000 * (sum(session.seconds for session in sessions) - before)

    new, known = [], []
    for number in range(args.voices):
        samples, rate = soundfile.read(io.BytesIO(prompt_wav(hertz=120 + 7 * number)), dtype="float32")
        voice = Prompt(samples, rate, str(number))
        new.append(first_chunk(voice))
        known.append(first_chunk(voice))
    print("\n| first chunk, processor time | in all | in the ONNX sessions |")
    print("|---|---|---|")
    saved = [(x - a, y - b) for (x, y), (a, b) in zip(new, known, strict=True)]
    for name, rows in (("with a new voice", new), ("with the same voice again", known), ("saved", saved)):
        print(f"| {name} | {' | '.join(f'{spread(list(column), 0)} ms' for column in zip(*rows, strict=True))} |")


class Stopwatch:
    """Stands before an ONNX session and adds up the processor time of its runs."""

    def __init__(self, frontend: Any, name: str) -> None:
        self.seconds = 0.0
        self._session = getattr(frontend, name)
        setattr(frontend, name, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *args: Any) -> Any:
        """Run it."""
        started = time.process_time()
        try:
            return self._session.run(*args)
        finally:
            self.seconds += time.process_time() - started


# The library's own kind of server


def serve_library(args: argparse.Namespace) -> None:
    """Hand the library's generator to a StreamingResponse."""
    import asyncio
    import inspect

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    sys.path[:0] = [str(args.source_dir), str(args.source_dir / "third_party" / "Matcha-TTS")]
    import torch
    from cosyvoice.cli import cosyvoice as library

    load = getattr(library, "AutoModel", library.CosyVoice2)
    cosyvoice = load(model_dir=str(args.model_dir), load_trt=args.tensorrt == "auto" and torch.cuda.is_available())
    as_path = "prompt_wav" in inspect.signature(cosyvoice.inference_cross_lingual).parameters

    def heard(upload: bytes) -> Any:
        if as_path:
            return io.BytesIO(upload)
        samples, _ = soundfile.read(io.BytesIO(upload), dtype="float32")
        return torch.from_numpy(samples)[None]

    def speak(text: str, upload: bytes) -> Iterator[bytes]:
        for chunk in cosyvoice.inference_cross_lingual(text, heard(upload), stream=True):
            yield (chunk["tts_speech"].numpy() * 2**15).astype(np.int16).tobytes()

    async def synthesize(request: Request) -> Response:
        async with request.form() as form:
            upload = form["prompt_wav"]
            assert not isinstance(upload, str)
            return StreamingResponse(speak(str(form["text"]), await upload.read()), media_type="audio/pcm")

    def health(_: Request) -> Response:
        return PlainTextResponse("ok")

    routes = [
        Route("/synthesize", synthesize, methods=["POST"]),
        Route("/health", health),
    ]
    config = Config()
    config.bind = [f"127.0.0.1:{args.serve_library}"]
    asyncio.run(serve(Starlette(routes=routes), config))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
