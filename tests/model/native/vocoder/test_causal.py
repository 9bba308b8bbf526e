"""CosyVoice3's vocoder in pieces: against a float64 reference of one pass; its noise against what upstream draws."""

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model
from cosyserve_workers.native.vocoder.causal_source import FixedNoise, SteppedSource, rows
from cosyserve_workers.native.vocoder.source import Places
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights
from cosyserve_workers.native.vocoder.windows import KEPT_FRAMES, REACHES, Windows
from tests.model.native.vocoder.causal_reference import VocoderReference

CPU = torch.device("cpu")
REACH = REACHES[COSYVOICE3]
FRAMES = 131
TOLERANCE = 1e-4
PITCH_LAYERS = [(80, 512, 4), *[(512, 512, 3)] * 4, (512, 1, 1)]
"""The published one's."""


@pytest.fixture(scope="module")
def plain(small_checkpoint_3: Path) -> Vocoder:
    """As on a CPU: its windows are as long as they have to be."""
    return Vocoder.load(small_checkpoint_3, CPU, torch.float32, COSYVOICE3)


@pytest.fixture(scope="module", params=[None, KEPT_FRAMES], ids=["cpu", "gpu"])
def vocoder(plain: Vocoder, request: pytest.FixtureRequest) -> Vocoder:
    """With the windows of either device."""
    return Vocoder(plain._hift, plain._source, Windows(REACH, request.param))


@pytest.fixture(scope="module")
def reference(small_checkpoint_3: Path) -> VocoderReference:
    return VocoderReference(torch.load(small_checkpoint_3 / "hift.pt", weights_only=True))


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return torch.randn(80, FRAMES, generator=torch.Generator().manual_seed(1)) * 1.5 - 5


@pytest.fixture(scope="module")
def table() -> Tensor:
    """The first second and a half of what upstream would draw for the small checkpoint's vocoder, and more."""
    return next(rows([(80, 32, 4), *[(32, 32, 3)] * 4, (32, 1, 1)], 9)).double()


def speak(vocoder: Vocoder, mel: Tensor, cuts: Sequence[int]) -> list[Tensor]:
    """The sound of the mel in pieces of these lengths."""
    stream = vocoder.open(0)
    pieces = torch.split(mel, list(cuts), dim=1)
    last = len(pieces) - 1
    return [vocoder.advance([VocoderStep(stream, piece, index == last)])[0] for index, piece in enumerate(pieces)]


def worst(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.abs().max())


def test_pitch_is_the_references(plain: Vocoder, reference: VocoderReference, mel: Tensor) -> None:
    wanted = reference.pitch(mel)
    assert 0.2 < (wanted > 10).double().mean() < 0.95
    with torch.inference_mode():
        assert worst(plain._hift.pitch(mel[None])[0], wanted) < 1e-6
        assert worst(plain._hift.pitch(mel[None, :, :70])[0, : 70 - REACH.settles], wanted[:67]) < 1e-6


@pytest.mark.parametrize(
    "cuts",
    [[FRAMES], [50, 50, 31], [20, 31, 80], [10, 5, 0, 36, 80], [130, 1], [FRAMES, 0], [1] * 45 + [FRAMES - 45]],
    ids=lambda cuts: "-".join(map(str, cuts[:5])),
)
def test_pieces_are_the_sound_of_one_pass(
    vocoder: Vocoder, reference: VocoderReference, mel: Tensor, table: Tensor, cuts: list[int]
) -> None:
    wanted = reference.sound(mel, table[: FRAMES * SAMPLES_PER_FRAME])
    audio = speak(vocoder, mel, cuts)
    assert worst(torch.cat(audio), wanted) < TOLERANCE
    known = [sum(cuts[: index + 1]) for index in range(len(cuts) - 1)]
    said = torch.tensor([len(piece) // SAMPLES_PER_FRAME for piece in audio]).cumsum(0).tolist()
    assert said == [*(max(frames - REACH.right, 0) for frames in known), FRAMES], "a frame came later than it could"


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_full_size_gives_the_sound_of_one_pass(full_checkpoint_3: Path, mel: Tensor) -> None:
    vocoder = Vocoder.load(full_checkpoint_3, CPU, torch.float32, COSYVOICE3)
    reference = VocoderReference(torch.load(full_checkpoint_3 / "hift.pt", weights_only=True))
    noise = next(rows(PITCH_LAYERS, 9)).double()[: FRAMES * SAMPLES_PER_FRAME]
    assert worst(torch.cat(speak(vocoder, mel, [50, 50, 31])), reference.sound(mel, noise)) < TOLERANCE


@pytest.mark.parametrize("frames", range(1, 9))
def test_the_shortest_segments(
    vocoder: Vocoder, reference: VocoderReference, mel: Tensor, table: Tensor, frames: int
) -> None:
    wanted = reference.sound(mel[:, :frames], table[: frames * SAMPLES_PER_FRAME])
    assert worst(torch.cat(speak(vocoder, mel[:, :frames], [frames - 1, 1])), wanted) < TOLERANCE


def test_streams_in_one_batch_are_as_alone(vocoder: Vocoder, mel: Tensor) -> None:
    mels = [mel, mel.flip(1), mel.roll(7, 1)]
    cuts = [[50, 81], [51, 80], [50, 81]]
    streams = [vocoder.open(0) for _ in mels]
    audio: list[list[Tensor]] = [[], [], []]
    for turn in range(2):
        steps = [
            VocoderStep(stream, torch.split(one, cut, dim=1)[turn], turn == 1)
            for stream, one, cut in zip(streams, mels, cuts, strict=True)
        ]
        for heard, piece in zip(audio, vocoder.advance(steps), strict=True):
            heard.append(piece)
    for one, cut, heard in zip(mels, cuts, audio, strict=True):
        assert worst(torch.cat(heard), torch.cat(speak(vocoder, one, cut))) < TOLERANCE


@pytest.mark.parametrize("kernel_of", ["conv_pre", "f0_predictor.condnet.0"])
def test_the_other_models_vocoder_is_refused(small_checkpoint_3: Path, tmp_path: Path, kernel_of: str) -> None:
    state = torch.load(small_checkpoint_3 / "hift.pt", weights_only=True)
    name = f"{kernel_of}.parametrizations.weight.original1"
    state[name] = torch.nn.functional.pad(state[name], (1, 1))
    torch.save(state, tmp_path / "hift.pt")
    with pytest.raises(LoadError, match="not a CosyVoice3 vocoder"):
        Vocoder.load(tmp_path, CPU, torch.float32, COSYVOICE3)


@pytest.mark.parametrize(("model", "folder"), [(COSYVOICE2, "small_checkpoint_3"), (COSYVOICE3, "small_checkpoint")])
def test_the_other_models_vocoder_is_named(request: pytest.FixtureRequest, model: Model, folder: str) -> None:
    with pytest.raises(LoadError, match=rf"is the vocoder of CosyVoice.*{model.yaml} says {model.name}"):
        HiftWeights(request.getfixturevalue(folder), CPU, model)


# The source


class TestSource:
    """A minute of gliding pitch with gaps, and the noise."""

    WEIGHT, BIAS = torch.linspace(1, 0.2, 9)[None], torch.tensor([0.01])

    def made(self, f0: Tensor, cuts: list[int], noise: FixedNoise) -> Tensor:
        source, turns = SteppedSource(self.WEIGHT, self.BIAS, noise), torch.zeros(1, dtype=torch.float64)
        source.reserve(len(f0))
        parts, start = [], 0
        for part in torch.split(f0, cuts):
            number = torch.tensor([start])
            made, after = source.make(part[None].double(), Places(turns, number, number))
            turns = after[:, -1].frac()
            parts.append(made[0])
            start += len(part)
        return torch.cat(parts)

    @pytest.mark.parametrize("cuts", [[3000], [1, 999, 0, 2000], [750] * 4], ids=lambda cuts: f"{len(cuts)} parts")
    def test_a_minute_stays_exact(self, cuts: list[int]) -> None:
        frames = 3000
        f0 = torch.linspace(90, 400, frames) + 30 * torch.sin(torch.arange(frames) / 7)
        f0[200:230] = 0
        noise = FixedNoise(self.WEIGHT, PITCH_LAYERS)
        parts = rows(PITCH_LAYERS, 9)
        whole = torch.cat([next(parts) for _ in range(12)]).double()
        plain = VocoderReference({"m_source.l_linear.weight": self.WEIGHT, "m_source.l_linear.bias": self.BIAS})
        got = self.made(f0, cuts, noise)
        assert worst(got.double(), plain.source(f0.double(), whole)) < 1e-5


def test_the_table_is_what_upstream_draws() -> None:
    """Its modules are torch's own, made in its order after its seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.randn(1, 80, 15000)
        torch.nn.Embedding(6561, 80)
        torch.nn.Linear(192, 80)
        torch.nn.Conv1d(80, 512, 4)
        for _ in range(4):
            torch.nn.Conv1d(512, 512, 3)
        torch.nn.Linear(512, 1)
        torch.rand(1, 9)
        # Of 7200000 rows: the first ones do not depend on how many follow.
        wanted = torch.rand(1, 300_000, 9)[0]
    parts = rows(PITCH_LAYERS, 9)
    got = torch.cat([next(parts) for _ in range(3)])[:300_000]
    assert torch.equal(got, wanted)
    assert abs(float(got.mean()) - 0.5) < 1e-3


def test_noise_is_drawn_as_far_as_it_is_needed() -> None:
    early, late = (FixedNoise(torch.ones(1, 9), PITCH_LAYERS) for _ in range(2))
    late.reserve(700)
    early.reserve(10)
    early.reserve(690)
    assert torch.equal(late.mixed, early.mixed)
    assert (late.mixed[:700] > 0).all()
