"""A voice is computed once, and is nobody else's."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cosyserve.protocol import FailureCode, Mode, Prompt
from cosyserve_workers.engine import RequestError
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
pytestmark = kit.LIBRARY


@pytest.fixture
def sessions(library: Any) -> Iterator[list[kit.Tap]]:
    """Taps on both ONNX sessions."""
    frontend = library.frontend
    with kit.Tap(frontend.campplus_session, "run") as speaker, kit.Tap(frontend.speech_tokenizer_session, "run") as ids:
        yield [speaker, ids]


def test_the_second_request_with_a_voice_runs_no_onnx_session(cosyvoice: Any, sessions: list[kit.Tap]) -> None:
    voice = kit.prompt(hertz=301)
    kit.whole(cosyvoice.stream(kit.request(Mode.ZERO_SHOT, kit.SHORT, prompt=voice), kit.never))
    assert [len(session.calls) for session in sessions] == [1, 1]
    for mode in Mode:
        kit.whole(cosyvoice.stream(kit.request(mode, kit.SHORT, prompt=voice), kit.never))
    kit.whole(cosyvoice.stream(kit.request(Mode.ZERO_SHOT, kit.SHORT, prompt=voice, prompt_text="你好。"), kit.never))
    assert [len(session.calls) for session in sessions] == [1, 1]


def test_requests_that_bring_a_new_voice_at_once_compute_it_once(cosyvoice: Any, sessions: list[kit.Tap]) -> None:
    voice = kit.prompt(hertz=302)

    def speak() -> None:
        kit.whole(cosyvoice.stream(kit.request(text=kit.SHORT, prompt=voice), kit.never))

    with kit.running(*[speak] * 4):
        pass
    assert [len(session.calls) for session in sessions] == [1, 1]


@pytest.mark.full
def test_each_of_two_voices_gets_its_own_features(cosyvoice: Any, library: Any) -> None:
    """Same prompt text and different audio; same audio and different prompt text; all at once, twice."""
    low, high = kit.prompt(hertz=110), kit.prompt(hertz=400, seconds=2.9)
    asked = [(low, "一二三。"), (high, "一二三。"), (high, "四五六七。"), (low, "四五六七。")] * 2
    model = library.model
    threads: dict[int, int] = {}

    def speak(number: int, voice: Prompt, said: str) -> None:
        threads[number] = threading.get_ident()
        kit.whole(cosyvoice.stream(kit.request(Mode.ZERO_SHOT, kit.SHORT, prompt=voice, prompt_text=said), kit.never))

    jobs = [lambda job=job: speak(job[0], *job[1]) for job in enumerate(asked)]
    with kit.Tap(model.llm, "inference") as words, kit.Tap(model.flow, "inference") as sounds, kit.running(*jobs):
        pass
    for number, (voice, said) in enumerate(asked):
        heard = torch.from_numpy(voice.samples)[None]
        fresh = library.frontend.frontend_zero_shot("", said, heard, library.sample_rate, "")
        (word,) = words.of_thread(threads[number])
        assert torch.equal(word["prompt_text"], fresh["prompt_text"])
        assert torch.equal(word["prompt_speech_token"], fresh["llm_prompt_speech_token"])
        for sound in sounds.of_thread(threads[number]):
            assert torch.equal(sound["prompt_token"], fresh["flow_prompt_speech_token"])
            assert torch.equal(sound["prompt_feat"], fresh["prompt_speech_feat"])
            assert torch.equal(sound["embedding"], fresh["flow_embedding"])


def test_a_prompt_at_its_own_rate_is_heard_as_the_library_would_resample_it(cosyvoice: Any, library: Any) -> None:
    import torchaudio

    samples = np.random.default_rng(5).normal(0, 0.1, 3 * 44_100).astype(np.float32)
    given = torch.from_numpy(samples)[None]
    heard = torchaudio.transforms.Resample(44_100, 16_000)(given)
    fresh = library.frontend.frontend_zero_shot("", "", heard, library.sample_rate, "")
    # As the library of today resamples it, which reads the file once more at the model's rate.
    mel, _ = library.frontend._extract_speech_feat(torchaudio.transforms.Resample(44_100, 24_000)(given))
    with kit.Tap(library.model.flow, "inference") as sounds:
        kit.whole(cosyvoice.stream(kit.request(text=kit.SHORT, prompt=Prompt(samples, 44_100, "44k1")), kit.never))
    tokens = fresh["flow_prompt_speech_token"]
    assert torch.equal(sounds.calls[0]["prompt_token"], tokens)
    assert torch.equal(sounds.calls[0]["prompt_feat"], mel[:, : 2 * tokens.shape[1]])
    assert not torch.allclose(sounds.calls[0]["prompt_feat"], fresh["prompt_speech_feat"], atol=0.1)


def test_the_voices_used_last_are_kept() -> None:
    from cosyserve_workers.cosyvoice.voices import Voice, Voices

    computed = []

    def extract(prompt: Prompt) -> Voice:
        computed.append(prompt.digest)
        nothing = torch.zeros(0)
        return Voice(nothing, nothing, nothing)

    voices = Voices(extract, capacity=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        voices.voice(Prompt(np.zeros(1, np.float32), kit.RATE, name))
    assert computed == ["a", "b", "c", "b"]


def test_a_voice_that_failed_is_tried_again() -> None:
    from cosyserve_workers.cosyvoice.voices import Voice, Voices

    outcomes = iter([RuntimeError("no"), None])

    def extract(prompt: Prompt) -> Voice:
        if error := next(outcomes):
            raise error
        nothing = torch.zeros(0)
        return Voice(nothing, nothing, nothing)

    voices, prompt = Voices(extract), Prompt(np.zeros(1, np.float32), kit.RATE, "a")
    with pytest.raises(RuntimeError):
        voices.voice(prompt)
    assert voices.voice(prompt) is voices.voice(prompt)


def test_a_prompt_over_thirty_seconds_is_refused(cosyvoice: Any) -> None:
    with pytest.raises(RequestError, match="30 s") as refusal:
        list(cosyvoice.stream(kit.request(prompt=kit.prompt(seconds=30.5)), kit.never))
    assert refusal.value.code is FailureCode.INVALID_PROMPT
