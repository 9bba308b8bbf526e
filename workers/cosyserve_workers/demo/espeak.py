"""espeak-ng by ctypes: one piece of text in one voice becomes samples, from a library loaded afresh for each piece.

The C interface is espeak-ng's `speak_lib.h`. The library is one global synthesiser per process, so a lock is held while
it speaks: for one piece, which takes milliseconds, and never while anyone waits for a consumer.

Why afresh: the library carries state from one utterance into the next that no function resets (the phase of its pitch
flutter, its gain control, a count of glottal cycles, whatever an aborted utterance left), so that the same text would
sound a little different by what was spoken before it, by anyone. Loaded again it starts from the same state each time,
for about 0.4 ms: the pages are in memory already.
"""

import _ctypes
import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cosyserve_workers.engine import EngineBroken

SAMPLE_RATE = 22050
"""Hz of what the library synthesises."""
NORMAL_RATE = 175
"""Words per minute at speed 1: the library's default."""
SLOWEST_RATE = 80
"""Lower rates are clamped to this one by the library."""
FASTEST_RATE = 449
"""From 450 on the library hands over to a time compression of its own, in steps."""

_VOLUME = 80
"""Percent. At 100 some voices reach full scale, and resampling may overshoot by a little."""
_HEARTBEAT_S = 0.1
"""How often a stream that waits for the library asks whether to go on."""

# Names and values from speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_EE_OK = 0
_PARAMETER_RATE = 1
_PARAMETER_VOLUME = 2
_POS_CHARACTER = 1
_CHARS_UTF8 = 0x1
_PHONEMES = 0x100

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

_library_lock = threading.Lock()


class Espeak:
    """The synthesiser. May be called from any thread; they take turns.

    library, data: paths of the shared library and of the folder `espeak-ng-data`.
    Raises OSError, AttributeError or EngineBroken where they are not what they should be.
    """

    def __init__(self, library: str, data: str) -> None:
        self._library = library
        self._data = data
        with _library_lock, self._loaded() as espeak:
            self.version: str = espeak.espeak_Info(None).decode()
            """The library's version, `1.52.0` say."""

    def speak(self, text: str, voice: str, rate: int, step: Callable[[], None]) -> NDArray[np.int16]:
        """Speak one piece of text.

        text: phonemes by name are in double square brackets, as the library has it.
        voice: a file in the data's folder `lang`, in lower case (`sit/cmn`). By their other names voices are found too,
        but only after a walk over all of them, which is slow and leaks.
        rate: words per minute, SLOWEST_RATE to FASTEST_RATE.
        step: called while waiting for the library and for each 60 ms or less of speech; what it raises ends the speech
        and is passed on.

        Returns [n] int16 at SAMPLE_RATE; n is 0 where the text has nothing to say. The same arguments always return the
        same samples. Raises EngineBroken.
        """
        while not _library_lock.acquire(timeout=_HEARTBEAT_S):
            step()
        try:
            with self._loaded() as espeak:
                return _synthesise(espeak, text, voice, rate, step)
        finally:
            _library_lock.release()

    @contextlib.contextmanager
    def _loaded(self) -> Iterator[ctypes.CDLL]:
        handle = _ctypes.dlopen(self._library, ctypes.RTLD_LOCAL)
        try:
            espeak = ctypes.CDLL(None, handle=handle)
            _declare(espeak)
            rate = espeak.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, self._data.encode(), _INITIALIZE_DONT_EXIT)
            if rate != SAMPLE_RATE:
                raise EngineBroken(f"espeak-ng does not start with the data in {self._data} (it answers {rate})")
            try:
                yield espeak
            finally:
                espeak.espeak_Terminate()
        finally:
            _ctypes.dlclose(handle)


def _declare(espeak: ctypes.CDLL) -> None:
    """Argument types where ctypes' own guess would be wrong, and a check that the functions are there."""
    espeak.espeak_Info.restype = ctypes.c_char_p
    espeak.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    espeak.espeak_SetSynthCallback.argtypes = [_SynthCallback]
    espeak.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    espeak.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    espeak.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    espeak.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]


def _synthesise(espeak: ctypes.CDLL, text: str, voice: str, rate: int, step: Callable[[], None]) -> NDArray[np.int16]:
    heard = bytearray()
    raised: list[BaseException] = []

    def on_audio(samples: int | None, count: int, _events: int | None) -> int:
        # An exception cannot cross the library's C frames: it is kept, and raised when the library has stopped.
        try:
            if samples is not None and count > 0:
                heard.extend(ctypes.string_at(samples, 2 * count))
            step()
        except BaseException as error:
            raised.append(error)
            return 1
        return 0

    callback = _SynthCallback(on_audio)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.encode()) != _EE_OK:
        raise EngineBroken(f"espeak-ng has no voice {voice}")
    espeak.espeak_SetParameter(_PARAMETER_RATE, rate, 0)
    espeak.espeak_SetParameter(_PARAMETER_VOLUME, _VOLUME, 0)
    # The library seeds its noise with the time of day.
    espeak.espeak_ng_SetRandSeed(1)
    encoded = text.encode()
    answer = espeak.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _PHONEMES, None, None)
    if raised:
        raise raised[0]
    if answer != _EE_OK:
        raise EngineBroken(f"espeak-ng failed with code {answer}")
    return np.frombuffer(bytes(heard), dtype=np.int16)
