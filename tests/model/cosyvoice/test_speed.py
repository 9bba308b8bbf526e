"""Speed while streaming, and the joints between chunks."""

from typing import Any

import numpy as np
import pytest

from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
from cosyserve_workers.cosyvoice.vocoder import OverlapVocoder, faded  # noqa: E402
from cosyserve_workers.mel_stretch import Stretch  # noqa: E402

pytestmark = kit.LIBRARY

SPEEDS = [0.25, 0.5, 0.77, 1.0, 1.1, 1.5, 2.0, 3.3, 4.0]


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("cuts", [[50], [50, 150], [1, 2, 3, 199], list(range(1, 206))])
def test_where_chunks_end_makes_no_difference_to_any_frame(speed: float, cuts: list[int]) -> None:
    mel = torch.randn(1, 80, 206, generator=torch.Generator().manual_seed(1))
    at_once = Stretch(speed).push(mel, last=True)
    stretch, pieces = Stretch(speed), torch.tensor_split(mel, cuts, dim=2)
    in_chunks = [stretch.push(piece, last=index == len(cuts)) for index, piece in enumerate(pieces)]
    assert torch.equal(torch.cat(in_chunks, dim=2), at_once)


@pytest.mark.parametrize("speed", [0.5, 2.0, 4.0])
def test_frames_are_those_of_the_usual_interpolation(speed: float) -> None:
    mel = torch.randn(1, 80, 200, generator=torch.Generator().manual_seed(2))
    usual = torch.nn.functional.interpolate(mel, size=int(200 / speed), mode="linear")
    torch.testing.assert_close(Stretch(speed).push(mel, last=True), usual)


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_chunk_is_not_held_back_by_more_than_a_frame(speed: float) -> None:
    first = Stretch(speed).push(torch.zeros(1, 80, 50), last=False)
    assert first.shape[2] >= int(49 / speed)


def test_a_few_frames_at_full_speed_are_still_a_sound() -> None:
    assert Stretch(4.0).push(torch.zeros(1, 80, 2), last=True).shape == (1, 80, 1)


@pytest.mark.parametrize(
    "speed", [pytest.param(0.5, marks=pytest.mark.full), 1.5, pytest.param(4.0, marks=pytest.mark.full)]
)
def test_speech_is_so_much_longer_or_shorter(cosyvoice: Any, speed: float) -> None:
    plain = kit.whole(cosyvoice.stream(kit.request(seed=2), kit.never))
    paced = list(cosyvoice.stream(kit.request(seed=2, speed=speed), kit.never))
    assert len(paced) > 1, "it streams"
    assert sum(map(len, paced)) == pytest.approx(len(plain) / speed, abs=480)
    assert np.isfinite(np.concatenate(paced)).all()


def test_fades_neither_swell_nor_dip() -> None:
    torch.testing.assert_close(faded(torch.ones(3840), torch.ones(9600)), torch.ones(9600))


def test_chunks_joined_lose_no_sample(library: Any) -> None:
    vocoder = OverlapVocoder(library.model.hift)
    mel = torch.randn(1, 80, 90, generator=torch.Generator().manual_seed(3)) - 5
    pieces = torch.split(mel, [50, 9, 1, 30], dim=2)
    sound = [vocoder.push(piece, last=index == 3) for index, piece in enumerate(pieces)]
    assert sum(map(len, sound)) == 90 * 480
    assert [len(piece) // 480 for piece in sound] == [42, 9, 1, 38]


def test_the_source_is_carried_over_a_joint(library: Any) -> None:
    mel = torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(3)) - 5
    vocoder = OverlapVocoder(library.model.hift)
    with kit.Tap(library.model.hift, "inference") as calls:
        vocoder.push(mel[:, :, :40], last=False)
        vocoder.push(mel[:, :, 40:], last=True)
    assert calls.calls[1]["cache_source"].shape[2] == 8 * 480
    assert torch.equal(calls.calls[1]["speech_feat"], mel[:, :, 32:])
