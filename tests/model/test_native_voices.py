"""What is kept of voices: the right one for each request, and no more than the budget."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from cosyserve.prompts import decode_prompt
from cosyserve.protocol import Prompt
from cosyserve_workers.native.features import FeatureExtractor, VoiceFeatures
from cosyserve_workers.native.flow import Flow, VoiceState
from cosyserve_workers.native.lm import LanguageModel
from cosyserve_workers.native.tokenizer import TextTokenizer
from cosyserve_workers.native.voices import VoiceCache
from tests import sounds

CPU = torch.device("cpu")
RATE = 16_000
ROOM = 2**32


def upload(hertz: float, seconds: float = 2.5) -> Prompt:
    """A recording, decoded as the front end does: two of the same sound have the same digest."""
    return decode_prompt(sounds.encode(sounds.voice(seconds, RATE, hertz), RATE, subtype="FLOAT"))


class Voices:
    """The cache, as the engine uses it, and what it had computed."""

    def __init__(self, folder: Path) -> None:
        self.extractor = FeatureExtractor.load(folder, CPU)
        self.flow = Flow.load(folder, CPU, torch.float32)
        self.extracted: list[str] = []
        self.solved: list[VoiceFeatures] = []

    def cache(self, budget: int = ROOM) -> VoiceCache:
        self.extracted.clear()
        self.solved.clear()
        return VoiceCache(budget, self.extract, self.solve)

    def extract(self, prompt: Prompt) -> VoiceFeatures:
        self.extracted.append(prompt.digest)
        return self.extractor.extract(prompt)

    def solve(self, features: VoiceFeatures) -> VoiceState:
        self.solved.append(features)
        return self.flow.voice_state(features.speech_tokens, features.mel, features.embedding)


def state_of(cache: VoiceCache, prompt: Prompt) -> VoiceState:
    return cache.flow_state(prompt.digest, cache.features(prompt))


@pytest.fixture(scope="module")
def voices(small_checkpoint: Path) -> Voices:
    return Voices(small_checkpoint)


@pytest.fixture(scope="module")
def prefill(small_checkpoint: Path) -> Callable[[VoiceFeatures, str], torch.Tensor]:
    """What the language model says first, given a voice and its transcript."""
    tokenizer = TextTokenizer(small_checkpoint / "CosyVoice-BlankEN")
    model = LanguageModel.load(small_checkpoint, CPU, torch.float32, slots=1, max_tokens=400)

    def logits(features: VoiceFeatures, transcript: str) -> torch.Tensor:
        said, text = (torch.tensor(tokenizer.encode(words)) for words in (transcript, "好。"))
        first = model.prefill([0], [model.embed(said, text, features.speech_tokens)])
        model.release(0)
        return first

    return logits


def test_each_request_gets_its_own_voice_and_its_own_transcript(
    voices: Voices, prefill: Callable[[VoiceFeatures, str], torch.Tensor]
) -> None:
    """One transcript with two recordings, one recording with two transcripts; computed before against looked up."""
    low, high = upload(120), upload(250)
    asked = [(low, "一二三。"), (high, "一二三。"), (high, "四五六七。"), (low, "四五六七。")]
    alone = [
        (fresh := voices.cache(), prefill(fresh.features(prompt), said), state_of(fresh, prompt))
        for prompt, said in asked
    ]
    shared = voices.cache()
    for _ in range(2):
        for (prompt, said), (_, wanted, wanted_state) in zip(asked, alone, strict=True):
            assert torch.equal(prefill(shared.features(prompt), said), wanted)
            state = state_of(shared, prompt)
            assert torch.equal(state.tokens, wanted_state.tokens)
            assert torch.equal(state.mel, wanted_state.mel)
            assert torch.equal(state.speaker, wanted_state.speaker)
            assert torch.equal(state.carry.blocks[-1].estimator, wanted_state.carry.blocks[-1].estimator)
    assert voices.extracted == [low.digest, high.digest]
    assert len(voices.solved) == 2
    firsts = [first for _, first, _ in alone]
    assert not any(torch.allclose(a, b, atol=1e-3) for i, a in enumerate(firsts) for b in firsts[:i])


def test_the_same_recording_sent_twice_is_one_voice(voices: Voices) -> None:
    cache = voices.cache()
    assert state_of(cache, upload(120)) is state_of(cache, upload(120))
    assert len(voices.extracted) == len(voices.solved) == 1


def test_requests_that_bring_a_new_voice_at_once_compute_it_once(voices: Voices) -> None:
    cache, prompt = voices.cache(), upload(140)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: cache.features(prompt), range(12)))
    assert all(features is found[0] for features in found)
    assert voices.extracted == [prompt.digest]


def test_what_is_kept_stays_within_the_budget(voices: Voices) -> None:
    prompts = [upload(hertz) for hertz in (110, 130, 150, 170)]
    one = state_of(voices.cache(), prompts[0]).state_bytes
    budget = one * 3
    cache = voices.cache(budget)
    states = []
    for prompt in prompts:
        states.append(state_of(cache, prompt))
        assert 0 < cache.used_bytes <= budget
    assert state_of(cache, prompts[-1]) is states[-1]
    assert state_of(cache, prompts[0]) is not states[0]
    # States went; features, which are small, did not.
    assert len(voices.extracted) == len(prompts)
    assert len(voices.solved) == len(prompts) + 1


def test_a_state_dropped_from_the_cache_stays_whole_for_the_stream_that_uses_it(voices: Voices) -> None:
    prompt, other = upload(110), upload(210)
    cache = voices.cache(round(state_of(voices.cache(), prompt).state_bytes * 1.5))
    state = state_of(cache, prompt)
    before = state.carry.blocks[0].estimator.clone()
    assert state_of(cache, other) is not state
    assert state_of(cache, prompt) is not state
    assert torch.equal(state.carry.blocks[0].estimator, before)


def test_without_a_budget_everything_is_computed_and_nothing_kept(voices: Voices) -> None:
    cache, prompt = voices.cache(0), upload(110)
    first, second = state_of(cache, prompt), state_of(cache, prompt)
    assert torch.equal(first.mel, second.mel)
    assert cache.used_bytes == 0
    assert len(voices.extracted) == 2
