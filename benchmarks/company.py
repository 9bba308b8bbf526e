"""Streams that stand at one place, turn by turn: what is counted of a turn, or timed, is one of these."""

from collections.abc import Sequence

import torch

from cosyserve_workers.native.features.voice import VoiceFeatures
from cosyserve_workers.native.flow.sizes import CHUNK_TOKENS, FRAMES_PER_TOKEN, LOOKAHEAD_TOKENS, MEL_BINS
from cosyserve_workers.native.networks import Networks
from cosyserve_workers.native.utterances import Request, Segment, Voice

TEXT_TOKENS = 30
PREFILL_ROWS = 512
"""Of a turn at most, as the engine plans everywhere."""
_AFTER_BOUNDARY = 15
"""So far behind a boundary the prompt ends: the next chunk has ten tokens of its own, and is a first one."""


class Company:
    """`streams` requests with one voice, their first chunk heard, `past` speech tokens behind them.

    past: a multiple of 25; the voice's prompt is most of it. In order: `prefill`, `decode`, `open`, `solve`.
    """

    def __init__(self, networks: Networks, streams: int, past: int) -> None:
        prompt = past - CHUNK_TOKENS + _AFTER_BOUNDARY
        self._networks = networks
        self._requests: list[Request] = []
        voice = voice_of(prompt)
        # No words before the text: what is known of those would make a difference between the first and the next.
        segment = Segment([], [1] * TEXT_TOKENS, voice.features.speech_tokens.tolist())
        for seed in range(streams):
            request = networks.open(seed, 1.0, voice)
            self.rows = networks.add(request, segment)
            self._requests.append(request)

    def prefill(self) -> None:
        """All of their text, as many streams in a turn as find room."""
        together = max(PREFILL_ROWS // self.rows, 1)
        for first in range(0, len(self._requests), together):
            self._prefill(self._requests[first : first + together])

    def _prefill(self, requests: Sequence[Request]) -> None:
        """A long text takes several turns."""
        left = self.rows
        while left:
            rows = min(left, PREFILL_ROWS)
            self._networks.prefill([(request, rows) for request in requests])
            self._networks.collect(0)
            left -= rows

    def decode(self) -> None:
        """A turn with a token for each."""
        self._networks.decode(self._requests)
        self._networks.collect(0)

    def open(self, together: int) -> None:
        """Make their first chunks, so many in a turn, and their voice's state before."""
        self._say(CHUNK_TOKENS + LOOKAHEAD_TOKENS - _AFTER_BOUNDARY)
        for first in range(0, len(self._requests), together):
            self._networks.solve(self._requests[first : first + together]).result()

    def know(self, chunks: int) -> None:
        """Have as many tokens drawn as the next `solve` needs for so many chunks."""
        self._say(chunks * CHUNK_TOKENS)

    def solve(self) -> float:
        """A turn with the next chunks of all; seconds of sound of each."""
        return self._networks.solve(self._requests).result()[0].chunk.sound_s

    def finish(self, tokens: int) -> None:
        """Have so many more drawn, and their segments ended: the next `solve` is the last."""
        self._say(tokens)
        for request in self._requests:
            request.segments[0].ended = True

    def leave(self) -> None:
        """Go, as those do who have hung up."""
        for request in self._requests:
            self._networks.close(request)

    def _say(self, tokens: int) -> None:
        """Some tokens more, without the language model: what it says makes no difference here."""
        for request in self._requests:
            spoken = request.segments[0].tokens
            spoken.extend([0] * tokens)


def voice_of(tokens: int) -> Voice:
    """A voice with so many speech tokens in its prompt."""
    features = VoiceFeatures(
        torch.zeros(tokens, dtype=torch.int64), torch.zeros(FRAMES_PER_TOKEN * tokens, MEL_BINS), torch.ones(192)
    )
    return Voice(f"{tokens} tokens", features)
