"""The flow as a GPU has it, in rows of a chunk over pages, with the kernels' twins: still the mel of one pass."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.native.flow import solver
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.rows import BUCKETS, SHARED, shared_out
from cosyserve_workers.native.flow.sizes import EULER_STEPS, FlowSizes
from cosyserve_workers.native.kernels import paged
from cosyserve_workers.native.kernels.add_norm import add_norm
from cosyserve_workers.native.kernels.choice import Kernels
from cosyserve_workers.native.kernels.paged import Pages
from tests.model.conftest import first
from tests.model.native.flow.cases import make_case, speak
from tests.model.native.flow.test_flow import CPU, Pair, assert_same, join_and_leave, make_pair

pytestmark = pytest.mark.timeout(300)

SEEN: list[tuple[int, ...]] = []
"""Shapes that attention was given."""


def attend(qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
    SEEN.append((*qkv.shape, pages.table.shape[2]))
    return paged.attend(qkv, pages, layer, heads, bias)


@pytest.fixture(scope="module")
def library(small_checkpoint: Path, library_path: Path) -> Pair:
    return make_pair(small_checkpoint)


def in_rows(library: Pair, folder: Path, pages: int) -> Pair:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "kernels_for", lambda _: Kernels(attend, add_norm))
        flow = Flow.load(folder, CPU, torch.float32)
    flow.pool.reserve(pages * flow.pool.page_bytes)
    # What is solved once for all streams is a CPU's.
    flow._solver._first = None
    flow._solver._steppers = [flow._solver._estimator] * EULER_STEPS
    return library._replace(flow=flow)


@pytest.fixture(scope="module")
def pair(library: Pair, small_checkpoint: Path) -> Pair:
    return in_rows(library, small_checkpoint, 60)


@pytest.mark.parametrize("prompt", first([75, 0, 61]))
def test_growing_chunks_and_a_tail_give_the_mel_of_one_pass(pair: Pair, prompt: int) -> None:
    case = make_case(prompt, 133)
    mel = speak(pair.flow, pair.open(case), case.tokens, [28, 78])
    assert_same(mel, pair.one_pass(case))
    assert pair.flow.pool.room == 60


def test_streams_that_join_and_leave_give_the_mel_of_one_pass(pair: Pair) -> None:
    for case, mel in join_and_leave(pair, 3, 5, longest=90, latest=5, most=60):
        assert_same(mel, pair.one_pass(case))


def test_sequences_share_a_solve_up_to_sixteen_rows_and_a_longer_one_has_its_own() -> None:
    assert shared_out([4, 4, 4, 4, 4]) == [slice(0, 4), slice(4, 5)]
    assert shared_out([30, 1, 15, 1, 126]) == [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5)]
    assert shared_out([1]) == [slice(0, 1)]


def test_more_rows_of_a_stream_than_others_share(pair: Pair) -> None:
    case = make_case(30, 25 * SHARED + 40)
    mel = speak(pair.flow, pair.open(case), case.tokens, [])
    assert_same(mel, pair.one_pass(case))


@pytest.mark.parametrize("prompt", first([20, 140]))
def test_with_a_pool_of_three_chunks(library: Pair, small_checkpoint: Path, prompt: int) -> None:
    pair = in_rows(library, small_checkpoint, 3)
    cases = [make_case(prompt, 90, seed=0), make_case(prompt, 90, seed=1)]
    streams = [pair.open(case) for case in cases]
    mels: list[list[Tensor]] = [[], []]
    for end in range(30, 91, 30):
        steps = [FlowStep(s, c.tokens[end - 30 : end], end == 90) for s, c in zip(streams, cases, strict=True)]
        for mel, parts in zip(pair.flow.advance(steps), mels, strict=True):
            parts.append(mel)
    for case, parts in zip(cases, mels, strict=True):
        assert_same(torch.cat(parts, dim=1), pair.one_pass(case))


@pytest.mark.full
def test_shapes_are_a_few(pair: Pair) -> None:
    """Whatever was asked before, attention has seen no others: of a bucket's rows, whatever lies behind."""
    SEEN.clear()
    for prompt, tokens in ((0, 30), (60, 101), (200, 77)):
        case = make_case(prompt, tokens)
        speak(pair.flow, pair.open(case), case.tokens, [30] if tokens > 30 else [])
    sizes = pair.flow.sizes
    assert isinstance(sizes, FlowSizes)
    widths = {1: 3 * sizes.width, 2: 3 * sizes.heads * sizes.head_width}
    known = {(1, 25 * rows, widths[1], 160) for rows in BUCKETS} | {
        (guidance, 50 * rows, widths[guidance], 160) for rows in BUCKETS for guidance in (1, 2)
    }
    assert set(SEEN) <= known
