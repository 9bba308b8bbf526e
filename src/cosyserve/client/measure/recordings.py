"""New voices: one recording, cut otherwise each time, so that no cache has met it."""

import io
import wave
from pathlib import Path

from cosyserve.client.order import UsageError

STEP_S = 0.01
"""What each is shorter at its beginning than the one before it."""
MOST_CUT = 0.4
"""Of the recording: then it begins again, with the end cut a step more."""
MIN_S = 2.0


class Recordings:
    """Of a WAV file, as many as are wanted."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError."""
        try:
            with wave.open(str(path), "rb") as file:
                self._format = file.getparams()
                self._samples = file.readframes(file.getnframes())
        except (OSError, EOFError, wave.Error) as error:
            raise UsageError(f"cannot read the recording {path} as a WAV file: {error}") from error
        self._frame_bytes = self._format.nchannels * self._format.sampwidth
        seconds = len(self._samples) / self._frame_bytes / self._format.framerate
        if seconds < MIN_S:
            raise UsageError(f"the recording {path} has {seconds:.1f} s: new voices are cut from one of {MIN_S:g} s up")

    def __getitem__(self, number: int) -> bytes:
        """A WAV file that differs from that of every other number."""
        step = int(STEP_S * self._format.framerate)
        frames = len(self._samples) // self._frame_bytes
        row, column = divmod(number, max(1, int(frames * MOST_CUT) // step))
        cut = self._samples[column * step * self._frame_bytes : (frames - row * step) * self._frame_bytes]
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setparams(self._format)
            file.writeframes(cut)
        return content.getvalue()
