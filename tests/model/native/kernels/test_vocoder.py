"""The vocoder's kernels against their twins, in Triton's interpreter; and that they compile for cards."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

from cosyserve_workers.native.kernels import excitation_triton, snake_triton, steps_triton
from tests.model.native.kernels.compiling import CARDS, compile_for, differences

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("kernel", "tolerance"), [("snakes", 1e-6), ("excitation", 1e-5), ("noise", 1e-6), ("steps", 1e-5)]
)
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 4), marks=pytest.mark.full)])
def test_a_kernel_does_what_its_twin_does(kernel: str, tolerance: float, seeds: range) -> None:
    greatest = max(differences("interpreted_vocoder", kernel, seeds))
    assert greatest < tolerance
    assert greatest > 0, "the twin was compared with itself"


@pytest.mark.parametrize("card", CARDS)
def test_kernels_compile_without_a_spill(card: int) -> None:
    names = ("channels", "samples", "x_channel", "out_channel", "inside_row", "inside_sample")
    numbers = dict.fromkeys(names, "i32")
    pointers = dict.fromkeys(("x", "out", "inside", "alpha", "made"), "*fp32")
    for added, passed in ((True, False), (False, True), (True, True)):
        flags = {"ADDED": added, "PASSED": passed, "MASKED": passed, "SCALED": added, "BLOCK": snake_triton.BLOCK}
        made = compile_for(card, snake_triton.snake_kernel, pointers | numbers, flags, snake_triton.WARPS)
        assert made.stack == 0
    types = dict.fromkeys(("f0", "centres", "before", "after", "weight"), "*fp64")
    types |= {"noise": "*i64", "bias": "*fp32", "out": "*fp32"}
    types |= dict.fromkeys(("frames", "centres_row", "noise_row"), "i32")
    constants = {"FRAME": 480, "HARMONICS": 9, "BLOCK": excitation_triton.BLOCK}
    made = compile_for(card, excitation_triton.excitation_kernel, types, constants, excitation_triton.WARPS)
    assert made.stack == 0
    types = dict.fromkeys(("f0", "turns", "weight"), "*fp64") | dict.fromkeys(("table", "bias", "out"), "*fp32")
    types |= {"begins": "*i64"} | dict.fromkeys(("frames", "lines", "f0_row", "turns_row", "begins_row"), "i32")
    constants = {"FRAME": 480, "HARMONICS": 9, "BLOCK": steps_triton.BLOCK}
    assert compile_for(card, steps_triton.steps_kernel, types, constants, steps_triton.WARPS).stack == 0
