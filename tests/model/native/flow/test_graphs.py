"""The flow's steps as graphs, recorded without a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.cuda_graphs import COUNTS, Graphs, Record, Step  # noqa: E402
from cosyserve_workers.native.flow import solver  # noqa: E402
from cosyserve_workers.native.flow.flow import Flow, FlowStep  # noqa: E402
from cosyserve_workers.native.flow.rows import BUCKETS  # noqa: E402
from cosyserve_workers.native.flow.state import FlowStream, VoiceState  # noqa: E402
from tests.model.conftest import first  # noqa: E402
from tests.model.native.recording import KERNELS, Recorder  # noqa: E402

CPU = torch.device("cpu")
SMALL = BUCKETS[:3]
"""Numbers of rows that most of these tests come to; recording the larger ones takes seconds."""


def load(folder: Path, record: Record | None = None, buckets: tuple[int, ...] = SMALL) -> Flow:
    """As on a GPU: oneDNN's layouts are a CPU's, and sequences are rows of a chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        patch.setattr(solver, "kernels_for", lambda _: KERNELS)
        patch.setattr(solver, "BUCKETS", buckets)
        flow = Flow.load(folder, CPU, torch.float32)
        flow.pool.reserve(60 * flow.pool.page_bytes)
        flow.record(record or (lambda step: step))
    return flow


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def flow(small_checkpoint: Path, recorder: Recorder) -> Flow:
    """With graphs."""
    return load(small_checkpoint, recorder)


@pytest.fixture(scope="module")
def plain(small_checkpoint: Path) -> Flow:
    """Without."""
    return load(small_checkpoint)


@contextmanager
def nothing_new(recorder: Recorder) -> Iterator[None]:
    """All that runs meanwhile has its graph, and runs by it."""
    counts, recorded, replayed = dict(COUNTS), recorder.recorded, recorder.replayed
    yield
    assert (dict(COUNTS), recorder.recorded) == (counts, recorded)
    assert recorder.replayed > replayed


def voice_of(flow: Flow, prompt: int) -> VoiceState:
    dice = torch.Generator().manual_seed(prompt)
    mel, speaker = torch.randn(2 * prompt, 80, generator=dice) - 5, torch.randn(192, generator=dice)
    return flow.voice_state(torch.randint(0, 6561, (prompt,), generator=dice), mel, speaker)


def draw(count: int, seed: int) -> Tensor:
    return torch.randint(0, 6561, (count,), generator=torch.Generator().manual_seed(seed))


def speak(flow: Flow, stream: FlowStream, tokens: Tensor, *, keep: bool = True) -> list[Tensor]:
    """25 tokens at a time, then what is left."""
    parts = tokens.split(25)
    return [flow.advance([FlowStep(stream, part, final=part is parts[-1], keep=keep)])[0].clone() for part in parts]


def same(ours: list[Tensor], wanted: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("prompt", first([84, 0, 60]))
def test_a_stream_alone_sounds_the_same(flow: Flow, plain: Flow, recorder: Recorder, prompt: int) -> None:
    with nothing_new(recorder):
        ours = speak(flow, flow.open(voice_of(flow, prompt)), draw(110, 1))
    assert same(ours, speak(plain, plain.open(voice_of(plain, prompt)), draw(110, 1)))


def test_turn_by_turn_two_streams_keep_what_is_theirs(flow: Flow, plain: Flow, recorder: Recorder) -> None:
    voice = voice_of(flow, 60)
    streams = [flow.open(voice), flow.open(voice)]
    tokens = [draw(100, 3).split(25), draw(100, 4).split(25)]
    ours: list[list[Tensor]] = [[], []]
    with nothing_new(recorder):
        for turn in range(4):
            for index, stream in enumerate(streams):
                step = FlowStep(stream, tokens[index][turn], final=turn == 3)
                ours[index].append(flow.advance([step])[0].clone())
    for index in (0, 1):
        assert same(ours[index], speak(plain, plain.open(voice_of(plain, 60)), torch.cat(tokens[index])))


@pytest.mark.full
def test_a_batch_and_a_tail_take_the_graph_of_their_rows(flow: Flow, plain: Flow, recorder: Recorder) -> None:
    def both(flow: Flow) -> list[Tensor]:
        voice = voice_of(flow, 60)
        streams = [flow.open(voice) for _ in range(3)]
        mels = flow.advance([FlowStep(stream, draw(30, seed)) for seed, stream in enumerate(streams)])
        return [mel.clone() for mel in (*mels, *flow.advance([FlowStep(streams[0], draw(3, 7), final=True)]))]

    with nothing_new(recorder):
        ours = both(flow)
    assert same(ours, both(plain))


def test_what_no_graph_was_made_for_runs_without_and_is_counted(flow: Flow, plain: Flow, recorder: Recorder) -> None:
    def five(flow: Flow) -> list[Tensor]:
        return speak(flow, flow.open(voice_of(flow, 0)), draw(125, 5), keep=False)

    counts, recorded = dict(COUNTS), recorder.recorded
    ours = five(flow)
    # The last chunk is solved with the four before it, in eight rows: an opening and ten steps.
    assert COUNTS["graph_fallbacks"] == counts["graph_fallbacks"] + 11
    assert recorder.recorded == recorded
    assert same(ours, five(plain))


@pytest.mark.full
@pytest.mark.timeout(2400)
def test_all_numbers_of_rows(small_checkpoint: Path, plain: Flow) -> None:
    recorder = Recorder()
    flow = load(small_checkpoint, recorder, BUCKETS)
    assert recorder.recorded == 2 * len(BUCKETS)
    tokens = [draw(25 * chunks - 5, chunks) for chunks in (1, 2, 3, 7, 12, 20, 60, 126)]

    def each(flow: Flow) -> list[Tensor]:
        streams = [flow.open(voice_of(flow, 0)) for _ in tokens]
        return [
            flow.advance([FlowStep(stream, said, final=True)])[0].clone()
            for stream, said in zip(streams, tokens, strict=True)
        ]

    with nothing_new(recorder):
        ours = each(flow)
    assert same(ours, each(plain))


@pytest.mark.parametrize("broken", ["wrong", "no number", "impossible"])
def test_graphs_that_do_not_work_are_left_out(small_checkpoint: Path, plain: Flow, broken: str, caplog: Any) -> None:
    def record(step: Step) -> Step:
        if broken == "impossible":
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda: tuple(result + (1e3 if broken == "wrong" else torch.nan) for result in step())

    flow = load(small_checkpoint, record)
    ours = speak(flow, flow.open(voice_of(flow, 60)), draw(60, 8))
    assert same(ours, speak(plain, plain.open(voice_of(plain, 60)), draw(60, 8)))
    assert len([line for line in caplog.messages if "CUDA graphs are off for the flow" in line]) == 1


# Graphs themselves


def adds_one(value: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (value + 1,)


def test_a_step_runs_plainly_once_a_graph_is_off() -> None:
    value = torch.ones(1)
    graphs = Graphs("the test", lambda step: lambda: (step()[0] * 2,))
    graphs.make("shape", adds_one(value))
    assert graphs.replay("shape", adds_one(value))[0].item() == 2
    assert not graphs.sound


def test_too_little_memory_for_a_graph_is_one_shapes_affair(caplog: Any) -> None:
    """Others, that need less, are recorded and used."""
    value = torch.ones(1)
    recorded: list[str] = []

    def record(step: Step) -> Step:
        if not recorded:
            recorded.append("large")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        recorded.append("small")
        return step

    graphs = Graphs("the test", record)
    before = dict(COUNTS)
    for shape in ("large", "small"):
        graphs.make(shape, adds_one(value))
    for shape in ("large", "small"):
        assert graphs.replay(shape, adds_one(value))[0].item() == 2
    assert graphs.sound
    counted = {name: count - before[name] for name, count in COUNTS.items()}
    assert counted == {"graph_captures": 1, "graph_fallbacks": 1, "flow_overflows": 0}
    assert [line for line in caplog.messages if "no memory for a CUDA graph of the test, of shape large" in line]


def test_a_step_that_fails_while_a_graph_is_made_of_it_fails() -> None:
    def step() -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Graphs("the test", lambda step: step).make("shape", step)


def test_what_a_program_is_given_is_copied_to_where_its_graph_reads_but_not_twice() -> None:
    graphs = Graphs("the test", Recorder())

    def add(given: Any) -> tuple[Tensor, ...]:
        return (given[0] + given[1],)

    graphs.call("shape", [torch.ones(1), torch.ones(1)], add)
    graphs.seal()
    ten, hundred = torch.full((1,), 10.0), torch.full((1,), 100.0)
    assert graphs.call("shape", [ten, hundred], add)[0].item() == 110
    assert graphs.call("shape", [torch.full((1,), 20.0), hundred], add)[0].item() == 120
    assert graphs.call("shape", [ten, ten], add)[0].item() == 20
    assert graphs.call("other", [ten, ten], add)[0].item() == 20
