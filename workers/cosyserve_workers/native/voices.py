"""What is known of the voices used last: their features, and the flow's state behind their prompts."""

from collections.abc import Callable

from cosyserve.protocol import Prompt
from cosyserve_workers.budgeted_cache import BudgetedCache
from cosyserve_workers.native.features import VoiceFeatures
from cosyserve_workers.native.flow import VoiceState

FEATURES_SHARE = 1 / 8
MOST_FEATURES = 64 * 2**20
"""Bytes: a hundred voices of thirty seconds. A share of their own, because features are small and dear, states large
and cheap: ten new voices should not cost the features of a hundred."""


class VoiceCache:
    """Features and flow states by the hash of a voice's audio, within a budget.

    The prompt's text is no part of a key: it enters the language model's prefill alone, which is done for every
    request and kept for none, while features and flow state depend on the audio alone. So requests with one recording
    and different transcripts share both, and nothing of a transcript can reach another request.

    budget_bytes: the most that what is kept may hold. What streams use beyond it is theirs.
    extract: computes features; called from the threads that call `features`.
    solve: computes a flow state; called from the threads that call `flow_state`, and a flow allows but one.
    """

    def __init__(
        self,
        budget_bytes: int,
        extract: Callable[[Prompt], VoiceFeatures],
        solve: Callable[[VoiceFeatures], VoiceState],
    ) -> None:
        share = min(int(budget_bytes * FEATURES_SHARE), MOST_FEATURES)
        self._extract = extract
        self._solve = solve
        self._features = BudgetedCache[str, VoiceFeatures](share, lambda features: features.size_bytes)
        self._states = BudgetedCache[str, VoiceState](budget_bytes - share, lambda state: state.state_bytes)

    @property
    def used_bytes(self) -> int:
        """Memory that the kept features and states hold."""
        return self._features.used + self._states.used

    def features(self, prompt: Prompt) -> VoiceFeatures:
        """Look up a prompt's features, or compute them. Raises RequestError where the prompt is no voice."""
        return self._features.get(prompt.digest, lambda: self._extract(prompt))

    def flow_state(self, digest: str, features: VoiceFeatures) -> VoiceState:
        """Look up the flow's state behind the prompt with this digest and these features, or compute it."""
        return self._states.get(digest, lambda: self._solve(features))
