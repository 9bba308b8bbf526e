"""The engine `native` on a CosyVoice3 folder: what is another than on CosyVoice2's, and that the rest is as there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosyserve.protocol import EngineConfig, Mode
from cosyserve_workers.engine import LoadError
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.engine import NativeEngine  # noqa: E402
from cosyserve_workers.native.flow.flow import Flow, FlowStep  # noqa: E402
from cosyserve_workers.native.lm.silence import SILENT  # noqa: E402
from cosyserve_workers.native.loading import create  # noqa: E402
from cosyserve_workers.native.models import COSYVOICE3  # noqa: E402
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep  # noqa: E402
from tests.model.native.engine_kit import (  # noqa: E402
    Listening,
    config,
    difference,
    engine_on,
    nothing_left,  # noqa: F401 - a fixture
    requests,
    say,
)

CPU = torch.device("cpu")
PAUSE = sorted(SILENT)[:2] * 10
"""Tokens of silence, twenty in a row."""
FILES = ["llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v3.onnx"]


class Pausing(Listening):
    """says: what is drawn first, whatever the scores."""

    says: list[int] = []  # noqa: RUF012 - each test sets its own

    def step(self, slots: Tensor, logits: Tensor) -> Tensor:
        tokens = super().step(slots, logits)
        for row, slot in enumerate(slots.tolist()):
            drawn = self.drawn[self._spoken[slot]]
            if len(drawn) <= len(self.says):
                tokens[row] = drawn[-1] = self.says[len(drawn) - 1]
        return tokens


@pytest.fixture(scope="module")
def draws() -> Pausing:
    return Pausing()


@pytest.fixture(scope="module")
def engine(small_checkpoint_3: Path, draws: Pausing) -> Iterator[NativeEngine]:
    with engine_on(small_checkpoint_3, draws) as engine:
        yield engine


def folder_without(folder: Path, name: str, out: Path) -> Path:
    for path in folder.iterdir():
        if path.name != name:
            (out / path.name).symlink_to(path)
    return out


@pytest.mark.parametrize("mode", Mode)
def test_a_seed_gives_the_same_sound_and_another_one_another(engine: NativeEngine, mode: Mode) -> None:
    assert engine.model_type == "CosyVoice3"
    first = say(engine, mode=mode, text=kit.SHORT, seed=1)
    assert np.abs(first).max() > 0.01
    assert np.array_equal(say(engine, mode=mode, text=kit.SHORT, seed=1), first)
    other = say(engine, mode=mode, text=kit.SHORT, seed=2)
    assert other.shape != first.shape or not np.array_equal(other, first)


@pytest.mark.full
def test_ten_at_once_are_as_each_alone(engine: NativeEngine, draws: Pausing) -> None:
    jobs = [replace(job, text=kit.SHORT * (1 + index % 4)) for index, job in enumerate(requests())]
    alone = [kit.whole(engine.stream(job, kit.never)) for job in jobs]
    tokens = dict(draws.drawn)
    draws.steps = 0
    with ThreadPoolExecutor(10) as pool:
        # Joining at any step: each thread prepares its text and voice in its own time.
        together = list(pool.map(lambda job: kit.whole(engine.stream(job, kit.never)), jobs))
    assert draws.steps < sum(len(draws.drawn[key]) for key in tokens), "no step was shared"
    for job in jobs:
        for key in (key for key in tokens if key[0] == job.seed):
            assert draws.drawn[key] == tokens[key], f"other tokens in company: {key}"
    assert max(map(difference, together, alone)) < 1e-4


def test_the_stream_is_what_one_pass_gives_of_the_tokens_that_are_kept(
    engine: NativeEngine, draws: Pausing, small_checkpoint_3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "says", [7, *PAUSE, 8, *PAUSE[:5], 9])
    request = kit.request(seed=11, text=kit.SHORT, prompt=kit.prompt(180, 2.1))
    streamed = kit.whole(engine.stream(request, kit.never))
    drawn = [token for token in draws.drawn[11, 0] if token < 6561]
    kept = [7, *PAUSE[:5], 8, *PAUSE[:5], 9, *drawn[len(draws.says) :]]
    assert drawn[: len(draws.says)] == draws.says
    assert len(streamed) == len(kept) * 960
    features = engine._extractor.extract(request.prompt)
    flow = Flow.load(small_checkpoint_3, CPU, torch.float32, model=COSYVOICE3)
    voice = flow.voice_state(features.speech_tokens, features.mel, features.embedding, most_bytes=0)
    (mel,) = flow.advance([FlowStep(flow.open(voice), torch.tensor(kept), final=True, keep=False)])
    vocoder = Vocoder.load(small_checkpoint_3, CPU, torch.float32, COSYVOICE3)
    (whole,) = vocoder.advance([VocoderStep(vocoder.open(0), mel, final=True)])
    assert difference(streamed, whole.numpy()) < 1e-3


def test_a_pause_without_end_ends(engine: NativeEngine, draws: Pausing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "says", PAUSE * 200)
    assert len(say(engine, text="好。", seed=12)) == 5 * 960
    assert len(draws.drawn[12, 0]) < 200, "what is dropped counts for the longest that a text may become"


def test_a_system_prompt_may_be_sent_or_not(engine: NativeEngine) -> None:
    plain = say(engine, mode=Mode.CROSS_LINGUAL, text=kit.SHORT, seed=31)
    marked = f"You are a helpful assistant.<|endofprompt|>{kit.SHORT}"
    assert np.array_equal(say(engine, mode=Mode.CROSS_LINGUAL, text=marked, seed=31), plain)


def test_slow_speech_finds_its_noise(engine: NativeEngine) -> None:
    fast, slow = (say(engine, text=kit.SHORT, seed=5, speed=speed) for speed in (1.0, 0.25))
    assert abs(len(slow) - 4 * len(fast)) <= 480 * 4
    assert np.isfinite(slow).all()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(small_checkpoint_3: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(LoadError, match=name) as refused:
        create(config(folder_without(small_checkpoint_3, name, tmp_path)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", FILES[:3])
@pytest.mark.parametrize("newer", [True, False])
def test_a_file_of_the_other_model_is_named(
    small_checkpoint: Path, small_checkpoint_3: Path, tmp_path: Path, name: str, newer: bool
) -> None:
    own, other = (small_checkpoint_3, small_checkpoint) if newer else (small_checkpoint, small_checkpoint_3)
    folder = folder_without(own, name, tmp_path)
    (folder / name).symlink_to(other / name)
    with pytest.raises(LoadError, match=rf"{name} is the .* all files must be of one model") as refused:
        create(config(folder))
    assert "\n" not in str(refused.value)


def test_half_precision_speaks_too_and_fp16_is_refused(small_checkpoint_3: Path) -> None:
    engine = create(config(small_checkpoint_3, precision="bf16"))
    engine.warm_up()
    engine.close()
    with pytest.raises(LoadError, match="overflows in fp16"):
        create(config(small_checkpoint_3, precision="fp16"))


def test_another_language_model_may_be_named(small_checkpoint_3: Path, tmp_path: Path) -> None:
    folder = folder_without(small_checkpoint_3, "llm.pt", tmp_path)
    rehearsed = EngineConfig("native", str(folder), state_budget_gib=0.5, language_model_file="llm.rl.pt")
    with pytest.raises(LoadError, match=r"llm\.rl\.pt is missing"):
        create(rehearsed)
    (folder / "llm.rl.pt").symlink_to(small_checkpoint_3 / "llm.pt")
    engine = create(rehearsed)
    assert len(say(engine, text=kit.SHORT)) > 0
    engine.close()
