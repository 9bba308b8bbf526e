"""A residual's addition with its layer norm: the kernel against its twin, and for cards that are not here."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")
from cosyserve_workers.native.kernels import add_norm_triton
from tests.model.native.kernels.compiling import CARDS, TYPES, compile_for, differences

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("name", ["add_norm", "add_gated_norm"])
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 20), marks=pytest.mark.full)])
def test_the_kernel_is_its_twin(name: str, seeds: range) -> None:
    assert max(differences("interpreted", name, seeds)) <= 1e-5


@pytest.mark.parametrize("card", CARDS)
def test_it_compiles_without_a_spill(card: int) -> None:
    for number in TYPES:
        types = dict.fromkeys(("x", "more", "normed", "gate", "weight", "bias"), f"*{number}")
        constants = {"WIDTH": 256, "WIDE": 256, "EPS": 1e-5, "GATED": False}
        made = compile_for(card, add_norm_triton.add_norm_kernel, types, constants, add_norm_triton.WARPS)
        assert made.stack == 0, number


@pytest.mark.parametrize("card", CARDS)
def test_it_compiles_with_a_gate_without_a_spill(card: int) -> None:
    for number in TYPES:
        halves, exact = dict.fromkeys(("more", "normed"), f"*{number}"), ("x", "gate", "weight", "bias")
        types = {**halves, **dict.fromkeys(exact, "*fp32")}
        constants = {"WIDTH": 1024, "WIDE": 1024, "EPS": 1e-6, "GATED": True}
        made = compile_for(card, add_norm_triton.add_norm_kernel, types, constants, add_norm_triton.WARPS)
        assert made.stack == 0, number
