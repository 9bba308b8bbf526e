"""The voices' states in the flow: solved once, kept within their share of a budget, shared while anybody uses them."""

import weakref
from collections import OrderedDict

from cosyserve_workers.native.features.voice import VoiceFeatures
from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.state import VoiceState


class VoiceStates:
    """The voices used last, by the hash of their audio: the prompt's text is no part of the flow's state.

    Those kept take half of the budget at most, so that streams have the other half; the one used longest ago is given
    up first. A voice that finds no room is solved as far as there is some: its streams solve the rest, to the same end.

    budget: bytes, of voices and streams together.
    """

    def __init__(self, flow: Flow, budget: int) -> None:
        self._flow = flow
        self._budget = budget
        self._kept: OrderedDict[str, VoiceState] = OrderedDict()
        self._alive: weakref.WeakSet[VoiceState] = weakref.WeakSet()

    @property
    def alive_bytes(self) -> int:
        """Memory of those kept, and of those given up that streams still use."""
        return sum(state.state_bytes for state in self._alive)

    def get(self, digest: str, features: VoiceFeatures, streams_bytes: int) -> VoiceState:
        """Return a voice's state, solving it if need be. streams_bytes: what the streams hold of the budget."""
        state = self._kept.get(digest)
        if state is not None:
            self._kept.move_to_end(digest)
            return state
        share = self._budget // 2
        whole = self._flow.voice_bytes(len(features.speech_tokens))
        while self._kept and whole + sum(kept.state_bytes for kept in self._kept.values()) > share:
            self._kept.popitem(last=False)
        room = self._budget - streams_bytes - self.alive_bytes
        state = self._flow.voice_state(
            features.speech_tokens, features.mel, features.embedding, most_bytes=min(share, room)
        )
        self._alive.add(state)
        # Cut short by what others hold just now, it would stay so.
        if room >= min(whole, share):
            self._kept[digest] = state
        return state
