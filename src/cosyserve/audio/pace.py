"""How fast a stream's audio comes, measured against a listener who plays it from its first chunk on."""


class Pace:
    """Told of each chunk as it comes. All times are seconds on any steady clock.

    underruns: chunks that came later than the audio before them lasts. stalled_s: the silence that they made, together.
    """

    def __init__(self, began_at: float) -> None:
        """began_at: when a worker started on it."""
        self.began_at = began_at
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.audio_s = 0.0
        self.underruns = 0
        self.stalled_s = 0.0
        self._played_out_at = 0.0

    def feed(self, now: float, seconds: float) -> None:
        """A chunk of so many seconds of audio."""
        if self.first_at is None:
            self.first_at = self._played_out_at = now
        late_s = now - self._played_out_at
        if late_s > 0:
            self.underruns += 1
            self.stalled_s += late_s
            self._played_out_at = now
        self._played_out_at += seconds
        self.audio_s += seconds
        self.last_at = now

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work for a second of audio, from the start to the last chunk; None while there is no audio."""
        if self.last_at is None or not self.audio_s:
            return None
        return (self.last_at - self.began_at) / self.audio_s
