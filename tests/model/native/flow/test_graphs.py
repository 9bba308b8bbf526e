"""The flow's steps as graphs, recorded without a GPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native import cuda_graphs  # noqa: E402
from cosyserve_workers.native.cuda_graphs import Graphs, Step  # noqa: E402
from cosyserve_workers.native.flow import solver  # noqa: E402
from cosyserve_workers.native.flow.estimator_graphs import EstimatorGraphs, Stepper  # noqa: E402
from cosyserve_workers.native.flow.flow import Flow, FlowStep  # noqa: E402
from cosyserve_workers.native.flow.sizes import EULER_STEPS  # noqa: E402
from cosyserve_workers.native.flow.state import FlowStream, VoiceState  # noqa: E402
from cosyserve_workers.native.kernels import paged  # noqa: E402
from cosyserve_workers.native.kernels.add_norm import add_norm  # noqa: E402
from cosyserve_workers.native.kernels.choice import Kernels  # noqa: E402
from cosyserve_workers.native.kernels.paged import Pages  # noqa: E402
from tests.model.native.recording import Recorder  # noqa: E402

CPU = torch.device("cpu")


@torch.library.custom_op("cosyserve_tests::attend", mutates_args={"keys_values"})
def attend_op(  # noqa: PLR0917 - operations have no others
    qkv: Tensor, keys_values: Tensor, numbers: list[Tensor], layer: int, heads: int, bias: Tensor | None
) -> Tensor:
    """One operation, as a kernel is, that reads its tensors each time it is replayed."""
    return paged.attend(qkv, Pages(keys_values, *numbers), layer, heads, bias)


def attend(qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
    result: Tensor = attend_op(qkv, pages.keys_values, list(pages[1:]), layer, heads, bias)
    return result


@pytest.fixture(scope="module")
def flow(small_checkpoint: Path) -> Flow:
    with pytest.MonkeyPatch.context() as patch:
        # As on a GPU: oneDNN's layouts are a CPU's, and sequences are rows of a chunk.
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        patch.setattr(solver, "kernels_for", lambda _: Kernels(attend, add_norm))
        flow = Flow.load(small_checkpoint, CPU, torch.float32)
    flow.pool.reserve(60 * flow.pool.page_bytes)
    flow._solver._first = None
    take_steps(flow, flow._solver._estimator)
    return flow


def take_steps(flow: Flow, stepper: Stepper) -> None:
    flow._solver._steppers = [stepper] * EULER_STEPS


@pytest.fixture
def recorder(flow: Flow) -> Iterator[Recorder]:
    """The flow with graphs, for one test."""
    recorder = Recorder()
    take_steps(flow, EstimatorGraphs(flow._solver._estimator, recorder))
    yield recorder
    take_steps(flow, flow._solver._estimator)


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


@pytest.mark.full
@pytest.mark.parametrize("keep", [True, False])
def test_a_stream_alone_sounds_the_same(flow: Flow, recorder: Recorder, keep: bool) -> None:
    voices = [voice_of(flow, prompt) for prompt in (0, 60, 84)]
    ours = [speak(flow, flow.open(voice), draw(110, seed), keep=keep) for seed, voice in enumerate(voices)]
    assert 0 < recorder.recorded < recorder.replayed
    take_steps(flow, flow._solver._estimator)
    for seed, voice in enumerate(voices):
        assert same(ours[seed], speak(flow, flow.open(voice), draw(110, seed), keep=keep))


def test_a_shape_is_recorded_once_whoever_comes(flow: Flow, recorder: Recorder) -> None:
    voice = voice_of(flow, 60)
    speak(flow, flow.open(voice), draw(110, 1))
    recorded = recorder.recorded
    ours = speak(flow, flow.open(voice), draw(110, 2))
    assert recorder.recorded == recorded
    take_steps(flow, flow._solver._estimator)
    assert same(ours, speak(flow, flow.open(voice), draw(110, 2)))


@pytest.mark.full
def test_turn_by_turn_two_streams_keep_what_is_theirs(flow: Flow, recorder: Recorder) -> None:
    voice = voice_of(flow, 60)
    streams = [flow.open(voice), flow.open(voice)]
    tokens = [draw(100, 3).split(25), draw(100, 4).split(25)]
    ours: list[list[Tensor]] = [[], []]
    for turn in range(4):
        for index, stream in enumerate(streams):
            step = FlowStep(stream, tokens[index][turn], final=turn == 3)
            ours[index].append(flow.advance([step])[0].clone())
    assert recorder.replayed > 0
    take_steps(flow, flow._solver._estimator)
    for index in (0, 1):
        assert same(ours[index], speak(flow, flow.open(voice), torch.cat(tokens[index])))


def test_a_batch_and_a_tail_take_the_graph_of_their_rows(flow: Flow, recorder: Recorder) -> None:
    def both() -> list[Tensor]:
        streams = flow.open(voice), flow.open(voice)
        mels = flow.advance([FlowStep(stream, draw(30, seed)) for seed, stream in enumerate(streams)])
        return [mel.clone() for mel in (*mels, *flow.advance([FlowStep(streams[0], draw(3, 7), final=True)]))]

    voice = voice_of(flow, 60)
    ours = both()
    # The voice's two chunks had it made already; the tail is one.
    assert recorder.recorded == 2
    assert sorted(flow._solver._steppers[0]._inputs) == [1, 2]  # type: ignore[attr-defined]
    take_steps(flow, flow._solver._estimator)
    assert same(ours, both())


@pytest.mark.parametrize("broken", ["wrong", "impossible"])
def test_graphs_that_do_not_work_are_left_out(flow: Flow, broken: str, caplog: Any) -> None:
    def record(step: Step) -> Step:
        if broken == "impossible":
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda: tuple(result + 1e3 for result in step())

    voice = voice_of(flow, 60)
    wanted = speak(flow, flow.open(voice), draw(60, 8))
    take_steps(flow, EstimatorGraphs(flow._solver._estimator, record))
    try:
        assert same(speak(flow, flow.open(voice), draw(60, 8)), wanted)
    finally:
        take_steps(flow, flow._solver._estimator)
    assert len([line for line in caplog.messages if "CUDA graphs are off for the flow" in line]) == 1


def test_a_step_runs_plainly_once_a_graph_is_off() -> None:
    value = torch.ones(1)
    graphs = Graphs("the test", lambda step: lambda: (step()[0] * 2,))
    for _ in range(3):
        assert graphs.run("shape", lambda: (value + 1,))[0].item() == 2


def test_too_little_memory_for_a_graph_passes(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Others had it when the graph was to be recorded; later they have not."""
    monkeypatch.setattr(cuda_graphs, "POSTPONED_RUNS", 2)
    value, full, recorded = torch.ones(1), [True], []

    def record(step: Step) -> Step:
        if full.pop():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        recorded.append(step)
        return step

    graphs = Graphs("the test", record)
    before = dict(cuda_graphs.COUNTS)
    full.insert(0, False)
    for _ in range(5):
        assert graphs.run("shape", lambda: (value + 1,))[0].item() == 2
    assert graphs.sound
    assert len(recorded) == 1
    counted = {name: count - before[name] for name, count in cuda_graphs.COUNTS.items()}
    assert counted == {"graph_captures": 1, "graph_fallbacks": 2}
    assert [line for line in caplog.messages if "no memory for a CUDA graph of the test" in line]


def test_a_step_without_memory_fails_and_nothing_else() -> None:
    graphs = Graphs("the test", lambda step: step)

    def step() -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        graphs.run("shape", step)
    assert graphs.run("shape", lambda: (torch.ones(1),))[0].item() == 1
    assert graphs.sound
