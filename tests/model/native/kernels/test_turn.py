"""Rotary positions of the first head: the kernel against its twin, and for cards that are not here."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")
from cosyserve_workers.native.kernels import turn_triton
from tests.model.native.kernels.compiling import CARDS, TYPES, compile_for, differences

pytestmark = pytest.mark.timeout(300)


def test_the_kernel_is_its_twin() -> None:
    assert max(differences("interpreted", "turn", range(20))) <= 1e-5


@pytest.mark.parametrize("card", CARDS)
def test_it_compiles_without_a_spill(card: int) -> None:
    for number in TYPES:
        types = {"qkv": f"*{number}", "cosines": "*fp32", "sines": "*fp32", "frames": "i32"}
        constants = {"CHANNELS": 3072, "INNER": 1024, "HALF": 32, "WIDE": 32}
        assert compile_for(card, turn_triton.turn_kernel, types, constants, turn_triton.WARPS).stack == 0, number
