"""The vocoder in pieces: against the library's network, a float64 source, and itself in one pass."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.vocoder.reach import Span
from cosyserve_workers.native.vocoder.source import SAMPLE_RATE, HarmonicSource, SourceState
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep
from cosyserve_workers.native.vocoder.weights import FILE_NAME, SAMPLES_PER_FRAME

CPU = torch.device("cpu")
FRAMES = 151
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own, on import


@pytest.fixture(scope="module")
def vocoder(small_checkpoint: Path) -> Vocoder:
    return Vocoder.load(small_checkpoint, CPU, torch.float32)


@pytest.fixture(scope="module")
def theirs(small_checkpoint: Path, library_path: Path) -> Any:
    """The library's HiFT on the same weights."""
    from hyperpyyaml import load_hyperpyyaml

    with (small_checkpoint / "cosyvoice2.yaml").open() as yaml:
        blank = str(small_checkpoint / "CosyVoice-BlankEN")
        hift = load_hyperpyyaml(yaml, overrides={"qwen_pretrain_path": blank})["hift"]
    hift.load_state_dict(torch.load(small_checkpoint / FILE_NAME, weights_only=True))
    return hift.eval()


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return torch.randn(80, FRAMES, generator=torch.Generator().manual_seed(1)) * 1.5 - 5


def speak(vocoder: Vocoder, mel: Tensor, cuts: list[int], seed: int = 3) -> Tensor:
    """The mel in pieces of these lengths."""
    stream = vocoder.open(seed)
    pieces = torch.split(mel, cuts, dim=1)
    audio = [
        vocoder.advance([VocoderStep(stream, piece, index == len(pieces) - 1)])[0] for index, piece in enumerate(pieces)
    ]
    return torch.cat(audio)


def worst(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.abs().max())


def test_pitch_is_the_librarys(vocoder: Vocoder, theirs: Any, mel: Tensor) -> None:
    with torch.inference_mode():
        wanted = theirs.f0_predictor(mel[None])
        assert (wanted > 80).any(), "a checkpoint without voiced frames tests nothing"
        assert worst(vocoder._hift.pitch(mel[None]), wanted) < 1e-4


def test_decoding_is_the_librarys(vocoder: Vocoder, theirs: Any, mel: Tensor) -> None:
    source = torch.randn(1, FRAMES * SAMPLES_PER_FRAME, generator=torch.Generator().manual_seed(2)) * 0.1
    with torch.inference_mode():
        wanted = theirs.decode(x=mel[None], s=source[:, None])
        assert worst(vocoder._hift.decode(mel[None], source), wanted) < 1e-4


@pytest.mark.parametrize("kept", [Span(0, 1), Span(0, 30), Span(16, 66), Span(40, 41), Span(100, 151), Span(150, 151)])
def test_what_is_kept_is_decoded_as_if_all_were(vocoder: Vocoder, mel: Tensor, kept: Span) -> None:
    source = torch.randn(2, FRAMES * SAMPLES_PER_FRAME, generator=torch.Generator().manual_seed(2)) * 0.1
    mels = torch.stack([mel, mel.flip(1)])
    with torch.inference_mode():
        whole = vocoder._hift.decode(mels, source)
        part = vocoder._hift.decode(mels, source, kept)
    assert worst(part, whole[:, kept.start * SAMPLES_PER_FRAME : kept.end * SAMPLES_PER_FRAME]) <= 1e-5


@pytest.mark.parametrize(
    "cuts",
    [[50, 50, 51], [20, 31, 100], [10, 5, 0, 36, 100], [150, 1], [151, 0], [1] * 30 + [FRAMES - 30]],
    ids=lambda cuts: "-".join(map(str, cuts[:5])),
)
def test_pieces_join_to_what_one_pass_gives(vocoder: Vocoder, mel: Tensor, cuts: list[int]) -> None:
    whole = speak(vocoder, mel, [FRAMES])
    assert len(whole) == FRAMES * SAMPLES_PER_FRAME
    joined = speak(vocoder, mel, cuts)
    assert worst(joined, whole) < 1e-4
    tail = int(0.04 * SAMPLE_RATE)
    assert worst(joined[-tail:], whole[-tail:]) < 1e-4


def test_streams_in_one_batch_are_as_alone(vocoder: Vocoder, mel: Tensor) -> None:
    cuts = {5: [50, 101], 6: [51, 100], 7: [50, 101]}
    alone = {seed: speak(vocoder, mel, sizes, seed) for seed, sizes in cuts.items()}
    streams = {seed: vocoder.open(seed) for seed in cuts}
    audio: dict[int, list[Tensor]] = {seed: [] for seed in cuts}
    for turn in range(2):
        steps = [
            VocoderStep(streams[seed], torch.split(mel, sizes, dim=1)[turn], turn == 1) for seed, sizes in cuts.items()
        ]
        for seed, piece in zip(cuts, vocoder.advance(steps), strict=True):
            audio[seed].append(piece)
    for seed in cuts:
        assert worst(torch.cat(audio[seed]), alone[seed]) < 1e-4


def test_a_seed_decides_the_noise(vocoder: Vocoder, mel: Tensor) -> None:
    assert torch.equal(speak(vocoder, mel, [FRAMES], seed=1), speak(vocoder, mel, [FRAMES], seed=1))
    assert not torch.equal(speak(vocoder, mel, [FRAMES], seed=1), speak(vocoder, mel, [FRAMES], seed=2))


class TestSource:
    """Against the definition in float64, and against its own noise."""

    HARMONICS = 9

    def pitch(self, frames: int) -> Tensor:
        """A glide with an unvoiced gap."""
        f0 = torch.linspace(90, 400, frames)
        f0[frames // 3 : frames // 3 + 7] = 0
        return f0

    def reference(self, f0: Tensor, noise: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Phase summed over the whole in float64, interpolated between frame centres."""
        cycles = torch.cumsum(f0.double() / SAMPLE_RATE, 0)
        at = (torch.arange(len(f0) * SAMPLES_PER_FRAME, dtype=torch.float64) + 0.5) / SAMPLES_PER_FRAME - 0.5
        at = at.clamp(0, len(f0) - 1)
        below = at.floor().long().clamp(max=len(f0) - 2)
        phase = cycles[below] + (at - below) * (cycles[below + 1] - cycles[below])
        turns = phase[:, None] * SAMPLES_PER_FRAME * torch.arange(1, self.HARMONICS + 1)
        voiced = (f0 > 10).double().repeat_interleave(SAMPLES_PER_FRAME)[:, None]
        waves = 0.1 * torch.sin(2 * math.pi * turns) * voiced + (voiced * 0.003 + (1 - voiced) * 0.1 / 3) * noise
        return torch.tanh(waves @ weight.double().T + bias.double()).flatten()

    @pytest.mark.parametrize("cut", [0, 1, 40, 999])
    def test_twenty_seconds_stay_exact(self, cut: int) -> None:
        frames = 1000
        f0, weight, bias = self.pitch(frames), torch.linspace(1, 0.2, 9)[None], torch.tensor([0.01])
        source, state = HarmonicSource(weight, bias), SourceState(torch.Generator().manual_seed(4))
        parts = []
        if cut:
            # The frame after the cut is made twice, the first time as the window's last.
            first = source.make(f0[: cut + 1], state, keep=cut, final=False)
            parts.append(first[: cut * SAMPLES_PER_FRAME])
        parts.append(source.make(f0[cut:], state, keep=frames - cut, final=True))
        dice = torch.Generator().manual_seed(4)
        noise = torch.cat([torch.randn(SAMPLES_PER_FRAME, 9, generator=dice) for _ in range(frames)])
        assert worst(torch.cat(parts).double(), self.reference(f0, noise, weight, bias)) < 1e-5


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "cannot be read"),
        (lambda path: path.write_bytes(b"\x80\x02."), "cannot be read"),
        (lambda path: torch.save({"other": torch.zeros(1)}, path), "not a CosyVoice2 vocoder"),
    ],
)
def test_a_wrong_file_is_one_clear_line(small_checkpoint: Path, tmp_path: Path, damage: Any, says: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes((small_checkpoint / FILE_NAME).read_bytes())
    damage(path)
    with pytest.raises(LoadError, match=says) as caught:
        Vocoder.load(tmp_path, CPU, torch.float32)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
