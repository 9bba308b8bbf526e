"""The CosyVoice3 that tests build: names and sizes of the published files, weights that do not hide mistakes."""

import math
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve.check.model_folder import folder_problems, model_in
from tests.checkpoint3 import build
from tests.checkpoint3_shapes import SIZES, networks
from tests.model.native.flow.dit_reference import FlowReference
from tests.model.native.vocoder.causal_reference import SAMPLES_PER_FRAME, VocoderReference

FULL = SIZES["full"]
PUBLISHED = {"llm": (293, 506_148_480), "flow": (330, 332_257_120), "hift": (328, 20_779_887)}
"""Tensors in each file, and the numbers in them, those that two tensors share counted once."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_full_size_is_the_published_one(name: str) -> None:
    shapes = dict(networks(FULL, FULL.text_ids))[name]
    numbers = sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith("lm_head.weight"))
    assert (len(shapes), numbers) == PUBLISHED[name]


def test_the_folder_is_whole(small_checkpoint_3: Path) -> None:
    found = model_in(small_checkpoint_3)
    assert found is not None
    assert found.name == "CosyVoice3"
    assert folder_problems(small_checkpoint_3) == []


def test_two_builds_are_the_same(small_checkpoint_3: Path, tmp_path: Path) -> None:
    build(tmp_path, SIZES["small"])
    for name in ("llm", "flow", "hift"):
        one, other = (_state(folder, name) for folder in (small_checkpoint_3, tmp_path))
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def _state(folder: Path, name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / f"{name}.pt", weights_only=True)
    return state


def test_what_the_flow_hears_shows_in_its_mel(small_checkpoint_3: Path) -> None:
    flow = FlowReference(_state(small_checkpoint_3, "flow"))
    generator = torch.Generator().manual_seed(1)
    prompt, tokens, other = torch.randint(0, 6561, (3, 30), generator=generator)
    hint, speaker = torch.randn(60, 80, generator=generator) - 5, torch.randn(192, generator=generator)
    mel = flow.mel(prompt, hint, speaker, tokens)

    def moved(changed: Tensor) -> float:
        return float((changed - mel).abs().max() / mel.abs().max())

    assert mel.shape == (80, 60)
    assert moved(flow.mel(other, hint, speaker, tokens)) > 0.01
    assert moved(flow.mel(prompt, hint + 1, speaker, tokens)) > 0.01
    assert moved(flow.mel(prompt, hint, -speaker, tokens)) > 0.01
    assert moved(flow.mel(prompt, hint, speaker, tokens, chunk=1000)) > 0.002
    flow._rates.zero_()
    assert moved(flow.mel(prompt, hint, speaker, tokens)) > 0.002, "places do not matter"


def test_pitch_and_sound_are_like_those_of_speech(small_checkpoint_3: Path) -> None:
    vocoder = VocoderReference(_state(small_checkpoint_3, "hift"))
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(80, 150, generator=generator) * 1.5 - 5
    f0 = vocoder.pitch(mel)
    voiced = f0 > 10
    assert 0.3 < voiced.double().mean() < 0.95
    assert 100 < f0[voiced].median() < 400
    assert f0.max() < 450
    noise = torch.rand(150 * SAMPLES_PER_FRAME, 9, generator=generator).double()
    sound = vocoder.sound(mel, noise)
    assert 0.05 < sound.abs().max() < 0.99
    higher = vocoder.decode(mel, vocoder.source(f0 * 1.01, noise))
    assert (higher - sound).abs().max() > 0.05, "the pitch is not heard"
