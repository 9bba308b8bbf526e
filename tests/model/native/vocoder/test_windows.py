"""How streams are cut into windows: all is given out once, and on a GPU a few shapes do for everything."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.mel_stretch import Stretch  # noqa: E402
from cosyserve_workers.native.cuda_graphs import COUNTS  # noqa: E402
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3  # noqa: E402
from cosyserve_workers.native.vocoder import program  # noqa: E402
from cosyserve_workers.native.vocoder.program import Given, Numbers  # noqa: E402
from cosyserve_workers.native.vocoder.reach import Span  # noqa: E402
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep  # noqa: E402
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME  # noqa: E402
from cosyserve_workers.native.vocoder.windows import BUCKETS, KEPT_FRAMES, REACHES, Shape, Windows  # noqa: E402
from tests.model.native.recording import Recorder  # noqa: E402

CPU = torch.device("cpu")
OF_ONE_LENGTH = [Windows(reach, KEPT_FRAMES) for reach in REACHES.values()]
AS_NEEDED = [Windows(reach) for reach in REACHES.values()]
ALL = [Shape(80, Span(16, 66)), Shape(84, Span(29, 79))]


@pytest.mark.parametrize("windows", [*OF_ONE_LENGTH, *AS_NEEDED, *(Windows(reach, 7) for reach in REACHES.values())])
@pytest.mark.parametrize("seed", range(20))
def test_every_frame_is_given_once_with_all_that_it_looks_to(windows: Windows, seed: int) -> None:
    dice, reach = random.Random(seed), windows.reach
    given = known = 0
    final = False
    while not final:
        known += dice.choice([0, 1, 14, dice.randrange(300)])
        final = dice.random() < 0.2
        for window in windows.cut(given, known, final=final):
            kept = window.shape.kept
            signal = window.signal(known)
            assert window.start + kept.start == given
            assert 0 < window.given <= kept.end - kept.start
            assert window.start <= max(given - reach.left, 0)
            assert window.start + signal.start == max(window.start, 0)
            given += window.given
            assert window.start + signal.end >= min(given + reach.right, known)
            assert windows.kept or signal == Span(0, window.shape.frames)
        assert given == (known if final else max(known - reach.right, 0))


@pytest.mark.parametrize(("windows", "shape"), list(zip(OF_ONE_LENGTH, ALL, strict=True)))
def test_windows_of_one_length_have_one_shape(windows: Windows, shape: Shape) -> None:
    assert {window.shape for known in (1, 15, 400) for window in windows.cut(0, known, final=True)} == {shape}
    assert windows.shape == shape
    assert Windows(windows.reach).shape is None
    assert Windows(windows.reach).of_one_length == windows


def test_batches_are_filled_to_a_program() -> None:
    rows = list(range(35))
    programs, as_needed = OF_ONE_LENGTH[0], AS_NEEDED[0]
    assert [len(batch) for batch in programs.batches(rows)] == [16, 16, 3]
    assert [len(programs.filled(rows[:count])) for count in (1, 2, 3, 5, 9, 16)] == [1, 2, 4, 8, 16, 16]
    assert programs.filled([7, 8, 9]) == [7, 8, 9, 9]
    assert [len(batch) for batch in as_needed.batches(rows)] == [35]
    assert as_needed.filled([7, 8, 9]) == [7, 8, 9]


class Seen:
    """Stands before a vocoder's program, and notes what reaches it."""

    def __init__(self, vocoder: Vocoder) -> None:
        self.shapes: set[Any] = set()
        self._run = vocoder._program.run

    def __call__(self, shape: Shape, given: Given) -> Any:
        self.shapes.add((shape, *((tuple(one.shape), one.dtype) for one in given)))
        return self._run(shape, given)


@pytest.fixture(scope="module", params=[COSYVOICE2, COSYVOICE3], ids=["2", "3"])
def vocoder(small_checkpoint: Path, small_checkpoint_3: Path, request: pytest.FixtureRequest) -> Vocoder:
    folder = small_checkpoint if request.param is COSYVOICE2 else small_checkpoint_3
    plain = Vocoder.load(folder, CPU, torch.float32, request.param)
    return Vocoder(plain._hift, plain._source, plain._windows.of_one_length)


@pytest.fixture
def seen(vocoder: Vocoder) -> Iterator[Seen]:
    seen = Seen(vocoder)
    vocoder._program.run = seen  # type: ignore[method-assign]
    yield seen
    del vocoder._program.run


def a_day(vocoder: Vocoder, dice: random.Random, turns: int) -> int:
    """Streams come, speak at their pace for a while, and go. Returns how many frames of sound were given out."""
    streams: list[tuple[Any, Stretch, list[int]]] = []
    given = 0
    for _ in range(turns):
        while len(streams) < dice.randint(1, 17):
            streams.append((vocoder.open(dice.randrange(1000)), Stretch(dice.choice([0.5, 0.8, 1.0, 1.27, 2.0])), [0]))
        speaking = dice.sample(streams, dice.randint(1, len(streams)))
        steps = [step_of(stream, pace, dice) for stream, pace, _ in speaking]
        heard = vocoder.advance(steps)
        given += sum(map(len, heard)) // SAMPLES_PER_FRAME
        over = {id(step.stream) for step in steps if step.final}
        streams = [one for one in streams if id(one[0]) not in over]
    return given


def step_of(stream: Any, pace: Stretch, dice: random.Random) -> VocoderStep:
    final = dice.random() < 0.4
    frames = dice.choice([1, 2, 20, 46, 50, 68, 100])
    return VocoderStep(stream, pace.push(torch.randn(1, 80, frames), last=final)[0], final)


def test_no_other_shape_reaches_the_network(vocoder: Vocoder, seen: Seen) -> None:
    """Whatever the lengths, the paces, the beginnings and ends, and who is there."""
    assert a_day(vocoder, random.Random(5), turns=12) > 1000
    assert seen.shapes <= set(declared(vocoder._windows))
    assert len(seen.shapes) >= 4


def declared(windows: Windows) -> Sequence[Any]:
    assert windows.shape is not None
    return [
        (
            windows.shape,
            ((80, rows, windows.shape.frames), torch.float32),
            ((rows, len(Numbers._fields)), torch.int64),
            ((rows, 1 + windows.reach.carried), torch.float64),
        )
        for rows in BUCKETS
    ]


def test_company_changes_nothing(vocoder: Vocoder) -> None:
    """Three windows fill a batch of four; and streams that are far beside ones that begin."""
    mel = torch.randn(80, 300, generator=torch.Generator().manual_seed(1)) * 1.5 - 5
    alone, beside = vocoder.open(1), vocoder.open(1)
    (wanted,) = vocoder.advance([VocoderStep(alone, mel[:, :200], final=False)])
    others = [VocoderStep(vocoder.open(seed), mel[:, 200 : 200 + 40 * seed], final=True) for seed in (1, 2)]
    got = vocoder.advance([others[0], VocoderStep(beside, mel[:, :200], final=False), others[1]])[1]
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() / wanted.abs().max() < 1e-4
    assert torch.allclose(alone.carried[0], beside.carried[0])
    assert (alone.known, alone.given) == (beside.known, beside.given) == (200, 200 - vocoder._windows.reach.right)


@pytest.mark.full
@pytest.mark.parametrize("vocoder", [COSYVOICE2, COSYVOICE3], ids=["2", "3"], indirect=True)
def test_each_number_of_windows_has_its_graph_from_the_beginning(
    vocoder: Vocoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = BUCKETS[:2]
    monkeypatch.setattr(program, "BUCKETS", few)
    recorder = Recorder()
    recorded = Vocoder(vocoder._hift, vocoder._source, Windows(vocoder._windows.reach))
    recorded.record(recorder)
    assert recorder.recorded == len(few)
    counts, replayed = dict(COUNTS), recorder.replayed
    mel = torch.randn(80, 300, generator=torch.Generator().manual_seed(2)) * 1.5 - 5

    def sounds(subject: Vocoder) -> list[Tensor]:
        streams = [subject.open(seed) for seed in range(2)]
        first = subject.advance([VocoderStep(stream, mel[:, :90], final=False) for stream in streams])
        alone = subject.advance([VocoderStep(streams[1], mel[:, 90:], final=True)])
        return [*first, *alone, *subject.advance([VocoderStep(streams[0], mel[:, 90:100], final=True)])]

    for ours, wanted in zip(sounds(recorded), sounds(vocoder), strict=True):
        assert torch.allclose(ours, wanted, atol=1e-5)
    assert recorder.replayed > replayed + 3
    assert (dict(COUNTS), recorder.recorded) == (counts, len(few))
