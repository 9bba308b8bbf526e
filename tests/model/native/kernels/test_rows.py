"""The language model's kernels against their twins, and for cards that are not here."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")
from cosyserve_workers.native.kernels import rows_triton
from tests.model.native.kernels.compiling import CARDS, SHARED, TYPES, compile_for, differences

pytestmark = pytest.mark.timeout(300)

TOLERANCE = 1e-5


@pytest.mark.parametrize("kernel", ["attend", "gate"])
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 16), marks=pytest.mark.full)])
def test_the_kernels_are_their_twins(kernel: str, seeds: range) -> None:
    assert max(differences("interpreted_rows", kernel, seeds)) <= TOLERANCE


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("rows", [1, 16, 64, 512])
def test_they_compile_without_a_spill(card: int, rows: int) -> None:
    heads: dict[str, Any] = {"HEADS": 14, "KV_HEADS": 2, "WIDTH": 64}
    parts = {**heads, "SPLITS": rows_triton.splits_of(rows), "TILE": rows_triton.padded_group(14, 2)}
    for number in TYPES:
        types = dict.fromkeys(("projected", "cos", "sin", "query", "keys", "values", "out", "gate_up"), f"*{number}")
        types |= dict.fromkeys(("slots", "places"), "*i64") | dict.fromkeys(("sums", "totals"), "*fp32")
        types |= dict.fromkeys(("positions", "inner"), "i32")
        for kernel, constants in (
            (rows_triton.place_kernel, {**heads, "ALL": 32}),
            (rows_triton.attend_kernel, {**parts, "BLOCK": rows_triton.KEYS}),
            (rows_triton.join_kernel, parts),
            (rows_triton.gate_kernel, {"BLOCK": rows_triton.GATED}),
        ):
            named = {name: kind for name, kind in types.items() if name in kernel.arg_names}
            made = compile_for(card, kernel, named, constants, rows_triton.WARPS)
            assert made.stack == 0, (kernel, number)
            assert made.shared <= SHARED
            if kernel is rows_triton.attend_kernel:
                assert made.copies > 0, "keys are fetched while others are worked on"
