"""The vocoder in pieces: against the library's network, a float64 source, and itself in one pass."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.kernels.noise import Noise, key_of
from cosyserve_workers.native.models import COSYVOICE2
from cosyserve_workers.native.vocoder.ends import MaskedEnds
from cosyserve_workers.native.vocoder.reach import Span
from cosyserve_workers.native.vocoder.source import SAMPLE_RATE, HarmonicSource, Places
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep
from cosyserve_workers.native.vocoder.weights import FILE_NAME, SAMPLES_PER_FRAME
from cosyserve_workers.native.vocoder.windows import KEPT_FRAMES, REACHES, Windows

CPU = torch.device("cpu")
REACH = REACHES[COSYVOICE2]
FRAMES = 151
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own, on import


@pytest.fixture(scope="module")
def plain(small_checkpoint: Path) -> Vocoder:
    """As on a CPU: its windows are as long as they have to be."""
    return Vocoder.load(small_checkpoint, CPU, torch.float32)


@pytest.fixture(scope="module", params=[None, KEPT_FRAMES], ids=["cpu", "gpu"])
def vocoder(plain: Vocoder, request: pytest.FixtureRequest) -> Vocoder:
    """With the windows of either device."""
    return Vocoder(plain._hift, plain._source, Windows(REACH, request.param))


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


def test_pitch_is_the_librarys(plain: Vocoder, theirs: Any, mel: Tensor) -> None:
    with torch.inference_mode():
        wanted = theirs.f0_predictor(mel[None])
        assert (wanted > 80).any(), "a checkpoint without voiced frames tests nothing"
        assert worst(plain._hift.pitch(mel[None]), wanted) < 1e-4


def test_decoding_is_the_librarys(plain: Vocoder, theirs: Any, mel: Tensor) -> None:
    source = torch.randn(1, FRAMES * SAMPLES_PER_FRAME, generator=torch.Generator().manual_seed(2)) * 0.1
    with torch.inference_mode():
        wanted = theirs.decode(x=mel[None], s=source[:, None])
        assert worst(plain._hift.decode(mel[None], source), wanted) < 1e-4


@pytest.mark.parametrize("kept", [Span(0, 1), Span(0, 30), Span(16, 66), Span(40, 41), Span(100, 151), Span(150, 151)])
def test_what_is_kept_is_decoded_as_if_all_were(plain: Vocoder, mel: Tensor, kept: Span) -> None:
    source = torch.randn(2, FRAMES * SAMPLES_PER_FRAME, generator=torch.Generator().manual_seed(2)) * 0.1
    mels = torch.stack([mel, mel.flip(1)])
    with torch.inference_mode():
        whole = plain._hift.decode(mels, source)
        part = plain._hift.decode(mels, source, kept)
    assert worst(part, whole[:, kept.start * SAMPLES_PER_FRAME : kept.end * SAMPLES_PER_FRAME]) <= 1e-5


@pytest.mark.parametrize("signal", [Span(0, 151), Span(16, 151), Span(0, 100), Span(16, 60), Span(70, 71)])
def test_what_is_masked_is_decoded_as_if_nothing_lay_beyond(plain: Vocoder, mel: Tensor, signal: Span) -> None:
    """Each row of a batch has ends of its own."""
    source = torch.randn(2, FRAMES * SAMPLES_PER_FRAME, generator=torch.Generator().manual_seed(2)) * 0.1
    whole = Span(0, FRAMES)
    with torch.inference_mode():
        ends = MaskedEnds(plain._hift.masks(FRAMES), torch.tensor([signal, whole]))
        mels = torch.stack([mel, mel])
        mels[0, :, : signal.start] = mels[0, :, signal.end :] = 0.0
        pitch, sound = plain._hift.pitch(mels, ends), plain._hift.decode(mels, source, None, ends)
        for row, span in enumerate((signal, whole)):
            ours, theirs = span.cut(mel, whole, 1), span.cut(source[row : row + 1], whole, SAMPLES_PER_FRAME)
            assert worst(span.cut(pitch[row], whole, 1), plain._hift.pitch(ours[None])[0]) < 1e-9
            wanted = plain._hift.decode(ours[None], theirs)[0]
            assert worst(span.cut(sound[row], whole, SAMPLES_PER_FRAME), wanted) < 1e-5
    assert (pitch[0, : signal.start] == 0).all()
    assert (pitch[0, signal.end :] == 0).all()


@pytest.mark.parametrize(
    "cuts",
    [[50, 50, 51], [20, 31, 100], [10, 5, 0, 36, 100], [150, 1], [151, 0], [1] * 30 + [FRAMES - 30]],
    ids=lambda cuts: "-".join(map(str, cuts[:5])),
)
def test_pieces_join_to_what_one_pass_gives(plain: Vocoder, vocoder: Vocoder, mel: Tensor, cuts: list[int]) -> None:
    whole = speak(plain, mel, [FRAMES])
    assert len(whole) == FRAMES * SAMPLES_PER_FRAME
    joined = speak(vocoder, mel, cuts)
    assert worst(joined, whole) < 1e-4
    tail = int(0.04 * SAMPLE_RATE)
    assert worst(joined[-tail:], whole[-tail:]) < 1e-4


@pytest.mark.parametrize("frames", [1, 2, 5, 13, 14, 15, 16, 17, 31, 64, 66])
def test_a_short_segment_has_both_its_ends(plain: Vocoder, vocoder: Vocoder, mel: Tensor, frames: int) -> None:
    short = mel[:, :frames]
    whole = speak(plain, short, [frames])
    assert len(whole) == frames * SAMPLES_PER_FRAME
    assert worst(speak(vocoder, short, [frames // 2, frames - frames // 2]), whole) < 1e-4


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
        source, key = HarmonicSource(weight, bias), key_of(4)
        begins, turns, parts = 0, torch.zeros(1, dtype=torch.float64), []
        # The frame after the cut is made twice, the first time as the window's last.
        for made, keep in ((cut + 1, cut), (frames - cut, frames - cut)):
            places = Places(turns, torch.tensor([begins]), torch.tensor([source.noise_place(key, begins)]))
            waves, after = source.make(f0[None, begins : begins + made], places)
            parts.append(waves[0, : keep * SAMPLES_PER_FRAME])
            begins, turns = begins + keep, after[:, keep].frac()
        noise = Noise(9, CPU).draw(torch.tensor([source.noise_place(key, 0)]), frames * SAMPLES_PER_FRAME)[0].T
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
