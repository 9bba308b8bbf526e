"""Attention over pages: the plain one against attention as it is written down, the kernel against the plain one."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.kernels import paged, paged_triton  # noqa: E402
from cosyserve_workers.native.kernels.paged import Pages  # noqa: E402
from tests.model.native.kernels.compiling import CARDS, SHARED, TYPES, compile_for, differences  # noqa: E402

pytestmark = pytest.mark.timeout(300)

TOLERANCE = 1e-5
HEADS, WIDTH, SIZE = 3, 8, 5


def whole(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


def empty_pages(count: int, guidance: int = 1) -> Tensor:
    return torch.full((count, 1, 2, guidance, SIZE, HEADS * WIDTH), torch.nan)


def written_down(qkv: Tensor, biased: Tensor | None) -> Tensor:
    """Of one sequence, [frames, ...], each frame seeing its page and all before it."""
    frames = len(qkv)
    query, key, value = qkv.unflatten(1, (3, HEADS, WIDTH)).permute(1, 2, 0, 3).double()
    scores = query @ key.transpose(1, 2) / WIDTH**0.5
    places = torch.arange(frames)
    if biased is not None:
        back = places[:, None] - places
        scores += biased.gather(2, (biased.shape[2] - SIZE - back).clamp(max=biased.shape[2] - 1).expand(HEADS, -1, -1))
    hidden = places // SIZE > (places // SIZE)[:, None]
    heard = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1) @ value
    return heard.transpose(0, 1).flatten(1).float()


@pytest.mark.parametrize("biased", [False, True])
def test_rows_one_by_one_are_attention_over_the_whole(biased: bool) -> None:
    dice = torch.Generator().manual_seed(0)
    qkv = torch.randn(4 * SIZE, 3 * HEADS * WIDTH, generator=dice)
    bias = torch.randn(HEADS, 4 * SIZE, 5 * SIZE, generator=dice) if biased else None
    wanted = written_down(qkv, bias)
    keys_values = empty_pages(4)
    table = [2, 0, 3, -1]
    # Two rows, then one, then one that nobody keeps, a frame short.
    for start, rows, frames in ((0, 2, SIZE), (2, 1, SIZE), (3, 1, SIZE - 1)):
        place = slice(start * SIZE, (start + rows) * SIZE)
        pages = Pages(
            keys_values,
            whole(*table).expand(1, rows, -1),
            step=whole(0),
            past=whole(start).expand(rows),
            first=whole(0).expand(rows),
            frames=whole(frames).expand(rows),
        )
        got = paged.attend(qkv[None, place], pages, 0, HEADS, None if bias is None else bias[:, place])[0]
        real = frames - SIZE or None
        if real is None:
            assert torch.allclose(got, wanted[place], atol=TOLERANCE)
    assert keys_values[1].isnan().all(), "nobody's page"
    assert not keys_values[[2, 0, 3]].isnan().any()


def test_a_frame_that_is_not_real_is_not_heard() -> None:
    qkv = torch.randn(1, SIZE, 3 * HEADS * WIDTH)
    pages = Pages(empty_pages(1), whole(-1)[None, None], whole(0), whole(0), whole(0), whole(SIZE - 2))
    got = paged.attend(qkv, pages, 0, HEADS)[0, : SIZE - 2]
    assert torch.allclose(got, written_down(qkv[0, : SIZE - 2], None), atol=TOLERANCE)


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 60), marks=pytest.mark.full)])
def test_the_kernel_is_its_twin(seeds: range) -> None:
    assert max(differences("interpreted", "attend", seeds)) <= TOLERANCE


ESTIMATOR: dict[str, Any] = {"heads": 8, "width": 64, "size": 50, "layers": 56, "guidance": 2, "parts": 3}
SHAPES = {
    "estimator": (ESTIMATOR, False),
    "CosyVoice3": ({**ESTIMATOR, "heads": 16, "layers": 22}, False),
    "encoder, tokens": ({**ESTIMATOR, "size": 25, "layers": 6, "guidance": 1, "parts": 4}, True),
    "encoder, frames": ({**ESTIMATOR, "layers": 4, "guidance": 1, "parts": 4}, True),
}


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_compiles_without_a_spill(card: int, shape: str) -> None:
    sizes, biased = SHAPES[shape]
    for number in TYPES:
        types = dict.fromkeys(("qkv", "pages", "out", "bias"), f"*{number}")
        types |= dict.fromkeys(("table", "step", "past", "first", "frames"), "*i32")
        types |= dict.fromkeys(("layer", "most", "distances"), "i32")
        constants = paged_triton.shape_of(**sizes) | {"BIASED": biased}
        made = compile_for(card, paged_triton.attend_kernel, types, constants, paged_triton.WARPS)
        assert made.stack == 0, number
        assert made.shared <= SHARED
        assert made.copies > 0, "pages are fetched while others are worked on"
