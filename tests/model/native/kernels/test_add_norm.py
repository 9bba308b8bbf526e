"""A residual's addition with its layer norm: the kernel against its twin, and for cards that are not here."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")
from cosyserve_workers.native.kernels import add_norm_triton
from tests.model.native.kernels.compiling import CARDS, TYPES, compile_for, differences

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seeds", [range(5), pytest.param(range(5, 20), marks=pytest.mark.full)])
def test_the_kernel_is_its_twin(seeds: range) -> None:
    assert max(differences("interpreted", "add_norm", seeds)) <= 1e-5


@pytest.mark.parametrize("card", CARDS)
def test_it_compiles_without_a_spill(card: int) -> None:
    for number in TYPES:
        types = dict.fromkeys(("x", "more", "normed", "weight", "bias"), f"*{number}")
        constants = {"WIDTH": 256, "WIDE": 256}
        made = compile_for(card, add_norm_triton.add_norm_kernel, types, constants, add_norm_triton.WARPS)
        assert made.stack == 0, number
