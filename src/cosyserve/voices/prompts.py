"""Uploaded audio to a checked, mono prompt. The front end decodes nothing: a helper does (`decoding.py`)."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cosyserve.errors import InvalidPrompt
from cosyserve.protocol import Prompt
from cosyserve.wire.helper import Helpers
from cosyserve.wire.helper_process import HelperFailed

JOBS = "cosyserve.voices.decoding"
"""The module of the jobs, which no part of the front end imports."""
DECODE_S = 20.0
"""How long either job may take: a hundred times what half a minute of sound needs."""
PROBE, DECODE = f"{JOBS}:probe", f"{JOBS}:decode"
PARAM = "prompt_wav"

Reserve = Callable[[int], None]
"""Called with a number of bytes before so many are decoded; what it raises refuses the upload."""


class PromptLost(InvalidPrompt):
    """Its decoder crashed, took too long or too much memory."""


class Decoder:
    """Decodes in helpers' processes, which import `JOBS`. Safe in threads.

    Every method raises InvalidPrompt, and Unavailable where no helper takes the job.

    reserve: called, where the method itself was called, with the bytes of samples that the recording's packets and
    headers announce, before they are decoded; and again with the rest, should there be more after all.
    """

    def __init__(self, helpers: Helpers) -> None:
        self._helpers = helpers

    async def decode(self, audio: bytes, param: str = PARAM, reserve: Reserve | None = None) -> Prompt:
        """The prompt that an audio file holds. param: what the client calls the field."""
        reserved = _Reserved(reserve)
        with _refusals(param):
            if reserve is not None:
                reserved.grow_to(_accepted(await self._helpers.run(PROBE, audio, timeout_s=DECODE_S), param))
            decoded = _accepted(await self._helpers.run(DECODE, audio, timeout_s=DECODE_S), param)
        return _prompt(decoded, reserved)

    def decode_in_thread(self, audio: bytes, param: str = PARAM, reserve: Reserve | None = None) -> Prompt:
        """The same for threads, which it blocks."""
        reserved = _Reserved(reserve)
        with _refusals(param):
            if reserve is not None:
                reserved.grow_to(_accepted(self._helpers.call(PROBE, audio, timeout_s=DECODE_S), param))
            decoded = _accepted(self._helpers.call(DECODE, audio, timeout_s=DECODE_S), param)
        return _prompt(decoded, reserved)

    def load_default(self, path: Path | None) -> Prompt | None:
        """The configured prompt; None where none is configured or the file is not there. Raises OSError."""
        if path is None or not path.is_file():
            return None
        return self.decode_in_thread(path.read_bytes(), "defaults.prompt_wav")


class _Reserved:
    """How much one upload has reserved."""

    def __init__(self, reserve: Reserve | None) -> None:
        self._reserve = reserve
        self._bytes = 0

    def grow_to(self, size: int) -> None:
        """Reserve what is missing."""
        if self._reserve is not None and size > self._bytes:
            self._reserve(size - self._bytes)
            self._bytes = size


@contextlib.contextmanager
def _refusals(param: str) -> Iterator[None]:
    try:
        yield
    except HelperFailed as error:
        raise PromptLost(f"the prompt cannot be decoded: {error}", param=param) from error


def _accepted(answer: Any, param: str) -> Any:
    """A job's answer that is no refusal. Raises InvalidPrompt."""
    if isinstance(answer, str):
        raise InvalidPrompt(answer, param=param)
    return answer


def _prompt(decoded: tuple[bytearray, int, str], reserved: _Reserved) -> Prompt:
    samples, rate, digest = decoded
    reserved.grow_to(len(samples))
    return Prompt(np.frombuffer(samples, np.float32), rate, digest)
