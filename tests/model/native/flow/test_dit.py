"""CosyVoice3's flow in chunks, against a float64 reference of one pass with the streaming mask."""

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.flow.dit_flow import DitFlow, DitStep, DitStream
from tests.model.conftest import every
from tests.model.native.flow.cases import Case, in_parts, make_case
from tests.model.native.flow.dit_reference import FlowReference

TOLERANCE = 1e-4
CPU = torch.device("cpu")


def opened(flow: DitFlow, case: Case) -> DitStream:
    return flow.open(flow.voice_state(case.prompt, case.mel, case.speaker))


def one_pass(reference: FlowReference, case: Case) -> Tensor:
    return reference.mel(case.prompt, case.mel, case.speaker, case.tokens)


@pytest.fixture(scope="module")
def flow(small_checkpoint_3: Path) -> DitFlow:
    return DitFlow.load(small_checkpoint_3, CPU, torch.float32)


@pytest.fixture(scope="module")
def reference(small_checkpoint_3: Path) -> FlowReference:
    return FlowReference(torch.load(small_checkpoint_3 / "flow.pt", weights_only=True))


def speak(flow: DitFlow, stream: DitStream, tokens: Tensor, cuts: Sequence[int]) -> Tensor:
    """As `in_parts`."""
    return in_parts(lambda part, final: flow.advance([DitStep(stream, part, final=final)])[0], tokens, cuts)


def worst(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("prompt", [0, 10, 26, *every(range(60, 85), 8)])
def test_tokens_one_by_one_give_the_mel_of_one_pass(flow: DitFlow, reference: FlowReference, prompt: int) -> None:
    case = make_case(prompt, 37)
    mel = speak(flow, opened(flow, case), case.tokens, range(1, 37))
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


@pytest.mark.parametrize("prompt", [0, 3, 61])
def test_growing_chunks_give_the_mel_of_one_pass(flow: DitFlow, reference: FlowReference, prompt: int) -> None:
    case = make_case(prompt, 140)
    mel = speak(flow, opened(flow, case), case.tokens, [28, 78])
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_full_size_gives_the_mel_of_one_pass(full_checkpoint_3: Path) -> None:
    flow = DitFlow.load(full_checkpoint_3, CPU, torch.float32)
    case = make_case(28, 20)
    mel = speak(flow, opened(flow, case), case.tokens, [10])
    reference = FlowReference(torch.load(full_checkpoint_3 / "flow.pt", weights_only=True))
    assert worst(mel, one_pass(reference, case)) <= TOLERANCE


def test_a_frame_comes_as_soon_as_three_tokens_after_its_chunk_are_known(flow: DitFlow) -> None:
    case = make_case(60, 30)
    stream = opened(flow, case)
    sizes = [flow.advance([DitStep(stream, token[None])])[0].shape[1] for token in case.tokens]
    # The first boundary is at 75 tokens: 15 of them are new, and 18 must be known.
    assert sizes == [0] * 17 + [30] + [0] * 12


def test_streams_in_one_batch_are_as_alone(flow: DitFlow, reference: FlowReference) -> None:
    cases = [make_case(prompt, tokens) for prompt, tokens in ((28, 90), (60, 40), (0, 61), (77, 5))]
    streams = [opened(flow, case) for case in cases]
    heard: list[list[Tensor]] = [[] for _ in cases]
    for start, end in ((0, 30), (30, 60), (60, 200)):
        talking = [index for index, stream in enumerate(streams) if not stream.finished]
        steps = [
            DitStep(streams[index], cases[index].tokens[start:end], final=end >= len(cases[index].tokens))
            for index in talking
        ]
        for index, mel in zip(talking, flow.advance(steps), strict=True):
            heard[index].append(mel)
    for case, parts in zip(cases, heard, strict=True):
        assert worst(torch.cat(parts, dim=1), one_pass(reference, case)) <= TOLERANCE


def test_a_voice_is_shared_and_left_as_it_was(flow: DitFlow, reference: FlowReference) -> None:
    case, other = make_case(60, 40), make_case(60, 45, seed=0)
    voice = flow.voice_state(case.prompt, case.mel, case.speaker)
    assert len(voice.carry.chunks) == 2, "the prompt is solved as far as its own tokens tell"
    before = [tensor.clone() for tensor in (voice.carry.near, *voice.carry.chunks)]
    for tokens in (case.tokens, other.tokens, case.tokens):
        mel = speak(flow, flow.open(voice), tokens, [20])
        assert worst(mel, reference.mel(case.prompt, case.mel, case.speaker, tokens)) <= TOLERANCE
    after = (voice.carry.near, *voice.carry.chunks)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_a_finished_stream_takes_no_more(flow: DitFlow) -> None:
    case = make_case(10, 5)
    stream = opened(flow, case)
    flow.advance([DitStep(stream, case.tokens, final=True)])
    with pytest.raises(ValueError, match="final"):
        flow.advance([DitStep(stream, case.tokens)])


def test_half_precision_is_near(small_checkpoint_3: Path, reference: FlowReference) -> None:
    flow = DitFlow.load(small_checkpoint_3, CPU, torch.bfloat16)
    case = make_case(60, 40)
    mel = speak(flow, opened(flow, case), case.tokens, [20])
    difference = (mel - one_pass(reference, case)).square().mean().sqrt()
    assert 1e-4 < difference < 0.05


def test_fp16_is_refused(small_checkpoint_3: Path) -> None:
    with pytest.raises(LoadError, match="overflows in fp16"):
        DitFlow.load(small_checkpoint_3, CPU, torch.float16)


def test_what_the_time_says_is_all_that_is_kept_of_it(flow: DitFlow) -> None:
    dit = flow._solver._dit
    assert dit._terms.shape == (10, flow.sizes.depth, 6, flow.sizes.width)
    assert dit._terms.untyped_storage().nbytes() == dit._terms.nbytes


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
        DitFlow.load(tmp_path, CPU, torch.float32)
