"""CosyVoice3's flow in chunks, against a float64 reference of one pass with the streaming mask."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.flow import solver
from cosyserve_workers.native.flow.dit import Dit
from cosyserve_workers.native.flow.dit_sizes import DitSizes
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.sizes import EULER_STEPS
from cosyserve_workers.native.kernels import paged
from cosyserve_workers.native.kernels.choice import Kernels
from cosyserve_workers.native.lanes import Lanes, using_threads
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model
from tests.model.conftest import every, first
from tests.model.native.flow.cases import Case, kept_of, make_case, opened, speak, tensors_of
from tests.model.native.flow.dit_reference import FlowReference

TOLERANCE = 1e-4
CPU = torch.device("cpu")


def load(folder: Path, dtype: torch.dtype = torch.float32, lanes: Lanes | None = None) -> Flow:
    return Flow.load(folder, CPU, dtype, lanes, COSYVOICE3)


def one_pass(reference: FlowReference, case: Case) -> Tensor:
    return reference.mel(case.prompt, case.mel, case.speaker, case.tokens)


@pytest.fixture(scope="module")
def flow(small_checkpoint_3: Path) -> Flow:
    return load(small_checkpoint_3)


@pytest.fixture(scope="module")
def reference(small_checkpoint_3: Path) -> FlowReference:
    return FlowReference(torch.load(small_checkpoint_3 / "flow.pt", weights_only=True))


def worst(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("prompt", [0, 10, 26, *every(range(60, 85), 8)])
def test_tokens_one_by_one_give_the_mel_of_one_pass(flow: Flow, reference: FlowReference, prompt: int) -> None:
    case = make_case(prompt, 37)
    mel = speak(flow, opened(flow, case), case.tokens, range(1, 37))
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


@pytest.mark.parametrize("prompt", [0, 3, 61])
def test_growing_chunks_give_the_mel_of_one_pass(flow: Flow, reference: FlowReference, prompt: int) -> None:
    case = make_case(prompt, 140)
    mel = speak(flow, opened(flow, case), case.tokens, [28, 78])
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_full_size_gives_the_mel_of_one_pass(full_checkpoint_3: Path) -> None:
    flow = load(full_checkpoint_3)
    case = make_case(28, 20)
    mel = speak(flow, opened(flow, case), case.tokens, [10])
    reference = FlowReference(torch.load(full_checkpoint_3 / "flow.pt", weights_only=True))
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


def test_a_frame_comes_as_soon_as_three_tokens_after_its_chunk_are_known(flow: Flow) -> None:
    case = make_case(60, 30)
    stream = opened(flow, case)
    sizes = [flow.advance([FlowStep(stream, token[None])])[0].shape[1] for token in case.tokens]
    # The first boundary is at 75 tokens: 15 of them are new, and 18 must be known.
    assert sizes == [0] * 17 + [30] + [0] * 12


def test_streams_in_one_batch_are_as_alone(flow: Flow, reference: FlowReference) -> None:
    cases = [make_case(prompt, tokens) for prompt, tokens in ((28, 90), (60, 40), (0, 61), (77, 5))]
    streams = [opened(flow, case) for case in cases]
    heard: list[list[Tensor]] = [[] for _ in cases]
    for start, end in ((0, 30), (30, 60), (60, 200)):
        talking = [index for index, stream in enumerate(streams) if not stream.finished]
        steps = [
            FlowStep(streams[index], cases[index].tokens[start:end], final=end >= len(cases[index].tokens))
            for index in talking
        ]
        for index, mel in zip(talking, flow.advance(steps), strict=True):
            heard[index].append(mel)
    for case, parts in zip(cases, heard, strict=True):
        assert worst(torch.cat(parts, dim=1), one_pass(reference, case)) <= TOLERANCE


def test_a_voice_is_shared_and_left_as_it_was(flow: Flow, reference: FlowReference) -> None:
    case, other = make_case(60, 40), make_case(60, 45, seed=0)
    voice = flow.voice_state(case.prompt, case.mel, case.speaker)
    assert len(voice.pages) == 2, "the prompt is solved as far as its own tokens tell"
    before = [tensor.clone() for tensor in kept_of(voice)]
    for tokens in (case.tokens, other.tokens, case.tokens):
        mel = speak(flow, flow.open(voice), tokens, [20])
        assert worst(mel, reference.mel(case.prompt, case.mel, case.speaker, tokens)) <= TOLERANCE
    assert all(torch.equal(one, two) for one, two in zip(before, kept_of(voice), strict=True))


@pytest.mark.parametrize("prompt", [0, 61])
def test_guidance_rows_side_by_side_give_the_mel_of_one_pass(
    small_checkpoint_3: Path, reference: FlowReference, prompt: int
) -> None:
    flow = load(small_checkpoint_3, lanes=Lanes(2))
    case = make_case(prompt, 60)
    with using_threads(2):
        assert flow.lanes.width(2) == 2
        mel = speak(flow, opened(flow, case), case.tokens, [28])
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


def in_rows(folder: Path, pages: int) -> Flow:
    """As a GPU has it, with the kernels' twins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "kernels_for", lambda _: Kernels(paged.attend))
        flow = load(folder)
    flow.pool.reserve(pages * flow.pool.page_bytes)
    flow._solver._first = None
    flow._solver._steppers = [flow._solver._estimator] * EULER_STEPS
    return flow


@pytest.mark.parametrize(("prompt", "pages"), first([(0, 40), (61, 2), (0, 2), (61, 40)], 2))
def test_rows_of_a_chunk_give_the_mel_of_one_pass(
    small_checkpoint_3: Path, reference: FlowReference, prompt: int, pages: int
) -> None:
    flow = in_rows(small_checkpoint_3, pages)
    cases = [make_case(prompt, 133), make_case(prompt, 40, seed=1)]
    streams = [opened(flow, case) for case in cases]
    heard: list[list[Tensor]] = [[], []]
    for start, end in ((0, 30), (30, 133)):
        steps = [
            FlowStep(stream, case.tokens[start:end], end >= len(case.tokens))
            for stream, case in zip(streams, cases, strict=True)
        ]
        for parts, mel in zip(heard, flow.advance(steps), strict=True):
            parts.append(mel)
    for case, parts in zip(cases, heard, strict=True):
        assert worst(torch.cat(parts, dim=1), one_pass(reference, case)) <= TOLERANCE


def test_dropped_state_is_computed_again(flow: Flow, reference: FlowReference) -> None:
    case = make_case(60, 100)
    stream = opened(flow, case)
    parts = []
    for end in range(20, 101, 20):
        if end in {60, 80}:
            stream.drop_state()
            assert stream.state_bytes == 0
        keep = end < 80
        parts += flow.advance([FlowStep(stream, case.tokens[end - 20 : end], final=end == 100, keep=keep)])
    assert worst(torch.cat(parts, dim=1), one_pass(reference, case)) <= TOLERANCE


def test_a_page_has_what_this_model_keeps_and_nothing_else(flow: Flow) -> None:
    sizes, (page,) = flow.sizes, flow.pool.take(1)
    assert isinstance(sizes, DitSizes)
    keys_values = 10 * sizes.estimator_layers * 2 * 2 * 50 * sizes.heads * sizes.head_width
    remembered = 10 * 2 * 30 * 2 * sizes.channels + 2 * sizes.lookahead_width
    assert flow.pool.page_bytes == 4 * (keys_values + remembered)
    assert flow.pool.page_bytes == sum(tensor.nbytes for tensor in tensors_of(page))


def test_a_finished_stream_takes_no_more(flow: Flow) -> None:
    case = make_case(10, 5)
    stream = opened(flow, case)
    flow.advance([FlowStep(stream, case.tokens, final=True)])
    with pytest.raises(ValueError, match="final"):
        flow.advance([FlowStep(stream, case.tokens)])


def test_half_precision_is_near(small_checkpoint_3: Path, reference: FlowReference) -> None:
    flow = load(small_checkpoint_3, torch.bfloat16)
    case = make_case(60, 40)
    mel = speak(flow, opened(flow, case), case.tokens, [20])
    difference = (mel - one_pass(reference, case)).square().mean().sqrt()
    assert 1e-4 < difference < 0.05


def test_fp16_is_refused(small_checkpoint_3: Path) -> None:
    with pytest.raises(LoadError, match="overflows in fp16"):
        load(small_checkpoint_3, torch.float16)


def test_what_the_time_says_is_all_that_is_kept_of_it(flow: Flow) -> None:
    dit = flow._solver._estimator
    assert isinstance(dit, Dit)
    assert dit.time_shifts.shape == (10, 6 * flow.sizes.estimator_layers + 2, flow.sizes.channels)
    assert dit.time_shifts.untyped_storage().nbytes() == dit.time_shifts.nbytes


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("pre_lookahead_layer.conv2.bias", None, "lacks pre_lookahead_layer.conv2.bias: not the flow of a CosyVoice3"),
        ("decoder.estimator.proj_out.weight", (79, 64), "proj_out.weight has shape"),
        ("encoder.surplus", (3,), "has 1 tensors that we do not know, encoder.surplus"),
    ],
)
def test_another_network_is_named(
    small_checkpoint_3: Path, tmp_path: Path, name: str, change: tuple[int, ...] | None, complaint: str
) -> None:
    state = torch.load(small_checkpoint_3 / "flow.pt", weights_only=True)
    state.pop(name, None)
    if change is not None:
        state[name] = torch.zeros(change)
    torch.save(state, tmp_path / "flow.pt")
    with pytest.raises(LoadError, match=complaint):
        load(tmp_path)


@pytest.mark.parametrize(("model", "folder"), [(COSYVOICE2, "small_checkpoint_3"), (COSYVOICE3, "small_checkpoint")])
def test_the_other_models_flow_is_named(request: pytest.FixtureRequest, model: Model, folder: str) -> None:
    with pytest.raises(LoadError, match=rf"is the flow of CosyVoice.*{model.yaml} says {model.name}"):
        Flow.load(request.getfixturevalue(folder), CPU, torch.float32, model=model)
