"""The flow in half precision on a CPU: its ends, and what is added to between products, stay float32."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.sizes import PageShapes
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model
from tests.model.native.flow.cases import Case, make_case, opened, speak, tensors_of

CPU = torch.device("cpu")
INNER = {"estimator", "convolutions"}
MODELS = pytest.mark.parametrize(
    ("checkpoint", "model", "most"), [("small_checkpoint", COSYVOICE2, 0.02), ("small_checkpoint_3", COSYVOICE3, 0.005)]
)


def mel(folder: Path, model: Model, dtype: torch.dtype, case: Case) -> Tensor:
    flow = Flow.load(folder, CPU, dtype, model=model)
    return speak(flow, opened(flow, case), case.tokens, [20])


@MODELS
def test_mel_is_off_by_less_than_rounding_it_would_be(
    checkpoint: str, model: Model, most: float, request: pytest.FixtureRequest
) -> None:
    folder, case = request.getfixturevalue(checkpoint), make_case(10, 40)
    exact = mel(folder, model, torch.float32, case)
    off = mel(folder, model, torch.bfloat16, case) - exact
    # With all of it in bf16 it was 0.024 and 0.011 nat.
    assert 1e-4 < off.square().mean().sqrt() < most


@MODELS
def test_only_what_products_are_made_of_is_kept_in_half_precision(
    checkpoint: str, model: Model, most: float, request: pytest.FixtureRequest
) -> None:
    del most
    pool = Flow.load(request.getfixturevalue(checkpoint), CPU, torch.bfloat16, model=model).pool
    (page,) = pool.take(1)
    kept = dict(zip(PageShapes._fields, tensors_of(page), strict=True))
    assert {name for name, tensor in kept.items() if tensor.dtype == torch.bfloat16} == INNER
    assert pool.page_bytes == sum(tensor.nbytes for tensor in kept.values())
