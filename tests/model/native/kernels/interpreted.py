"""Triton kernels beside their twins, in Triton's interpreter, which must be chosen before Triton is imported.

So this is a program of its own. It prints the largest difference of each random case, relative to the largest value.

    TRITON_INTERPRET=1 python -m tests.model.native.kernels.interpreted attend 0 1 2
"""

import json
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from triton.runtime import interpreter

from cosyserve_workers.native.kernels import add_norm, add_norm_triton, paged, paged_triton, turn, turn_triton
from cosyserve_workers.native.kernels.paged import Pages


def run(**checks: Callable[[torch.Generator], float]) -> None:
    """Try one of these kernels, by its name, in the cases of some seeds: what the command line says."""
    mend()
    check = checks[sys.argv[1]]
    print(json.dumps([check(torch.Generator().manual_seed(int(seed))) for seed in sys.argv[2:]]))


def mend() -> None:
    """Let loops run to a number that was loaded: NumPy 2.4 makes no integer of an array of one."""
    patch = interpreter._patch_lang_tensor

    def patched(tensor: type, scope: interpreter._LangPatchScope) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


def attend(dice: torch.Generator) -> float:
    """Any number of sequences of any number of rows, behind any pages, some of which nobody keeps."""
    heads, width = draw(dice, 1, 5), (8, 16, 32, 64, 20)[draw(dice, 0, 5)]
    size, layers, guidance, steps = draw(dice, 3, 51), draw(dice, 1, 4), draw(dice, 1, 3), draw(dice, 1, 4)
    parts, biased = draw(dice, 3, 5), guidance == 1 and draw(dice, 0, 3) > 0
    past: list[int] = []
    first: list[int] = []
    frames: list[int] = []
    for _ in range(draw(dice, 1, 4)):
        rows = draw(dice, 1, 4)
        past += [draw(dice, 0, 5)] * rows
        first += [len(first)] * rows
        frames += [size] * (rows - 1) + [draw(dice, 1, size + 1)]
    most = max(past) + max(len(first) - start for start in first) + 1
    count = 2 * steps * (sum(past) + len(past)) + 1
    numbers = torch.randperm(count, generator=dice).tolist()
    table = torch.full((steps, len(past), most), -1, dtype=torch.int32)
    for step in range(steps):
        for row, start in enumerate(first):
            own = numbers.pop() if draw(dice, 0, 4) else -1
            before = table[step, row - 1, : past[row] + row - start] if row > start else None
            behind = [numbers.pop() for _ in range(past[row])] if before is None else before.tolist()
            table[step, row, : past[row] + row - start + 1] = torch.tensor([*behind, own])
    inner = heads * width
    keys_values = torch.randn((count, layers, 2, guidance, size, inner), generator=dice)
    pages = Pages(keys_values, table, whole([draw(dice, 0, steps)]), whole(past), whole(first), whole(frames))
    qkv = torch.randn((guidance, len(past) * size, parts * inner), generator=dice) * 2
    bias = torch.randn((heads, len(past) * size, (most + draw(dice, 0, 3)) * size + size), generator=dice)
    arguments = (qkv, draw(dice, 0, layers), heads, bias if biased else None)
    return compare(pages, *arguments)


def add_norm_of(dice: torch.Generator) -> float:
    """Any number of lines of any width."""
    width = draw(dice, 1, 300)
    x, more = torch.randn((2, 2, draw(dice, 1, 40), width), generator=dice) * 10
    weight, bias = torch.randn((2, width), generator=dice)
    other = x.clone()
    wanted = add_norm.add_norm(x, more, weight, bias)
    got = add_norm_triton.add_norm(other, more, weight, bias)
    assert torch.equal(other, x)
    return difference(got, wanted)


def add_gated_norm_of(dice: torch.Generator) -> float:
    """The same, with what is added in full or half precision."""
    width = draw(dice, 1, 300)
    x, more = torch.randn((2, 2, draw(dice, 1, 40), width), generator=dice) * 10
    more = more.bfloat16() if draw(dice, 0, 2) else more
    terms = torch.randn((3, width), generator=dice).unbind()
    other = x.clone()
    wanted = add_norm.add_gated_norm(x, more, *terms)
    got = add_norm_triton.add_gated_norm(other, more, *terms)
    assert got.dtype == more.dtype
    # A sum of products may be rounded once or twice, and a norm of it to either side.
    rounding = torch.finfo(more.dtype).eps if more.dtype is torch.bfloat16 else 0.0
    return max(difference(other, x), difference(got.float(), wanted.float()) - rounding)


def turn_of(dice: torch.Generator) -> float:
    """Any number of frames of any number of heads."""
    heads, half, frames, guidance = draw(dice, 1, 5), draw(dice, 1, 40), draw(dice, 1, 60), draw(dice, 1, 3)
    qkv = torch.randn((guidance, frames, 3 * heads * 2 * half), generator=dice)
    angles = torch.randn((frames, half), generator=dice) * 100
    other = qkv.clone()
    wanted = turn.turn(qkv, angles.cos(), angles.sin(), heads)
    return difference(turn_triton.turn(other, angles.cos(), angles.sin(), heads), wanted)


def compare(pages: Pages, qkv: Tensor, layer: int, heads: int, bias: Tensor | None) -> float:
    """Difference of what both return where frames are real, and of the pages that they leave."""
    other = pages._replace(keys_values=pages.keys_values.clone())
    wanted = paged.attend(qkv, pages, layer, heads, bias)
    got = paged_triton.attend(qkv, other, layer, heads, bias)
    size = pages.keys_values.shape[4]
    real = (torch.arange(size) < pages.frames[:, None]).flatten()
    assert torch.equal(other.keys_values, pages.keys_values)
    return difference(got[:, real], wanted[:, real])


def difference(got: Tensor, wanted: Tensor) -> float:
    """The largest, relative to the largest value."""
    return float(((got - wanted).abs().max() / wanted.abs().max()).item())


def whole(numbers: list[int]) -> Tensor:
    """Numbers as a kernel reads them."""
    return torch.tensor(numbers, dtype=torch.int32)


def draw(dice: torch.Generator, low: int, end: int) -> int:
    """A number from `low`, below `end`."""
    return int(torch.randint(low, end, (1,), generator=dice))


if __name__ == "__main__":
    run(attend=attend, add_norm=add_norm_of, add_gated_norm=add_gated_norm_of, turn=turn_of)
