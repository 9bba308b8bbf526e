"""What the networks compute with: how it is chosen, and what half precision and bytes do to a layer and a sound."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native import precision
from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.lane_choice import LaneTable, choose_lanes, measure
from cosyserve_workers.native.half_vocoder import LEAST_SNR_DB, load_vocoder
from cosyserve_workers.native.lanes import Lanes, using_threads
from cosyserve_workers.native.linear import Int8Linear, Linear
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.weights import load_weights
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model, ModelFolder
from cosyserve_workers.native.precision import Precision, Processor, choose

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FLOAT32, BF16, FP16, BYTE = torch.float32, torch.bfloat16, torch.float16, torch.int8
ALL = frozenset({FLOAT32, BF16, FP16, BYTE})
SAPPHIRE_RAPIDS = Processor(frozenset({"avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"}), ALL)
ZEN_4 = Processor(frozenset({"avx512bw", "avx512_vnni", "avx512_bf16"}), ALL)
SKYLAKE = Processor(frozenset({"avx512bw"}), ALL)  # oneDNN imitates bf16 on it
ZEN_3 = Processor(frozenset({"avx2"}), frozenset({FLOAT32, BYTE}))
WITHOUT_ONEDNN = Processor(ZEN_4.flags, frozenset())


@pytest.mark.parametrize(
    ("device", "processor", "name", "vocoder"),
    [
        (CPU, SAPPHIRE_RAPIDS, "bf16", BF16),
        (CPU, ZEN_4, "bf16", BF16),
        (CPU, SKYLAKE, "fp32", FLOAT32),
        (CPU, ZEN_3, "fp32", FLOAT32),
        (CPU, WITHOUT_ONEDNN, "fp32", FLOAT32),
    ],
)
def test_auto_takes_what_the_machine_is_quick_in(
    device: torch.device, processor: Processor, name: str, vocoder: torch.dtype
) -> None:
    assert choose("auto", "auto", device, processor) == Precision(name, int8=False, vocoder=vocoder)


@pytest.mark.parametrize(
    ("model", "new", "language_model", "flow"),
    [
        (COSYVOICE2, True, BF16, FP16),
        (COSYVOICE3, True, BF16, BF16),
        (COSYVOICE2, False, FP16, FP16),
        (COSYVOICE3, False, FP16, FLOAT32),
    ],
)
def test_on_a_gpu_auto_goes_by_the_card_and_the_model(
    model: Model, new: bool, language_model: torch.dtype, flow: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CosyVoice3's numbers find no room in fp16, and old cards have no bf16."""
    monkeypatch.setattr(precision, "is_new", lambda _: new)
    chosen = choose("auto", "auto", GPU, ZEN_3, model)
    assert (chosen.dtype, chosen.flow, chosen.vocoder) == (language_model, flow, FLOAT32)


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_on_a_gpu_is_the_flows_too(name: str) -> None:
    assert choose(name, "auto", GPU, ZEN_3).flow == precision.DTYPES[name]


@pytest.mark.parametrize("processor", [SAPPHIRE_RAPIDS, ZEN_3])
@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(name: str, processor: Processor) -> None:
    chosen = choose(name, "auto", CPU, processor)
    assert (chosen.name, chosen.dtype, chosen.int8) == (name, precision.DTYPES[name], False)
    assert (chosen.vocoder == BF16) == (name == "bf16" and processor is SAPPHIRE_RAPIDS)


def test_bytes_are_for_those_who_ask_on_a_cpu() -> None:
    assert choose("auto", "int8", CPU, ZEN_4) == Precision("bf16", int8=True, vocoder=BF16)
    with pytest.raises(LoadError, match=r"int8 is for CPUs: set it to auto"):
        choose("auto", "int8", GPU, ZEN_4)
    with pytest.raises(LoadError, match=r"needs oneDNN"):
        choose("auto", "int8", CPU, WITHOUT_ONEDNN)
    with pytest.raises(LoadError, match=r"'int4' is not known here: set it to auto, fp32, bf16, fp16"):
        choose("int4", "auto", CPU, ZEN_4)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\nprocessor\t: 1\nflags\t\t: fpu\n",
            {"fpu", "avx2", "avx512_bf16"},
        ),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", set()),
        (None, set()),
    ],
)
def test_flags_are_those_that_linux_names(
    text: str | None, flags: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    assert Processor.here().flags == flags


def test_what_this_machine_is_said_to_block_it_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias, x = (torch.randn(shape, generator=generator) for shape in ((64, 48), (64,), (5, 48)))
    for dtype in Processor.here().blocks - {BYTE}:
        wanted = torch.nn.functional.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))
        layer = Linear(weight.to(dtype), bias.to(dtype))
        got = layer(x.to(dtype))
        assert layer._blocked
        assert got.dtype == dtype
        assert (got - wanted).abs().max() <= 4 * torch.finfo(dtype).eps * wanted.abs().max()


# Bytes


@pytest.fixture
def matrix() -> Tensor:
    return torch.randn(300, 200, generator=torch.Generator().manual_seed(1)) / 14


@pytest.fixture
def rows() -> Tensor:
    """Of very different loudness, one of them nothing."""
    x = torch.randn(7, 200, generator=torch.Generator().manual_seed(2))
    return x * torch.tensor([1.0, 1e3, 1e-3, 1.0, 1e6, 0.0, 1.0])[:, None]


def test_bytes_give_each_row_its_product(matrix: Tensor, rows: Tensor) -> None:
    bias = torch.linspace(-1, 1, 300)
    wanted = rows @ matrix.T
    got = Int8Linear(matrix, bias)(rows) - bias
    loud = wanted.norm(dim=1) > 1e-2
    assert ((got - wanted).norm(dim=1) / wanted.norm(dim=1))[loud].max() < 0.03
    assert (got - wanted)[~loud].abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [FLOAT32, BF16])
def test_a_rows_result_is_the_same_whoever_shares_its_batch(dtype: torch.dtype, matrix: Tensor, rows: Tensor) -> None:
    layer = Int8Linear(matrix.to(dtype))
    many = layer(rows.to(dtype).repeat(10, 1))
    assert many.dtype == dtype
    for index, row in enumerate(rows.to(dtype)):
        assert torch.equal(layer(row[None])[0], many[index])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_loudest_sums_do_not_clip(sign: int) -> None:
    """Where a processor adds pairs of products in 16 bits, two large ones would find no room."""
    weight, x = torch.ones(16, 64), sign * torch.ones(1, 64)
    assert torch.allclose(Int8Linear(weight)(x), x @ weight.T, rtol=1e-5)


def test_a_stream_in_bytes_scores_the_same_in_company(small_checkpoint: Path) -> None:
    model = LanguageModel(
        load_weights(ModelFolder.at(small_checkpoint), CPU, FLOAT32, int8=True), slots=3, max_tokens=64
    )
    none = torch.zeros(0, dtype=torch.int64)
    texts = [torch.arange(9), torch.arange(20, 35), torch.arange(40, 42)]

    def scores(slots: list[int]) -> Tensor:
        for slot in slots:
            model.prefill([slot], [model.embed(none, texts[slot], none)])
        logits = model.decode(slots, torch.tensor([5] * len(slots)))
        for slot in slots:
            model.release(slot)
        return logits

    together = scores([0, 1, 2])
    for slot in range(3):
        # What else a layer does rounds otherwise in a batch, and a byte may then be the next one.
        assert torch.allclose(scores([slot])[0].softmax(0), together[slot].softmax(0), atol=2e-3)


@pytest.mark.parametrize("dtype", [BF16, FP16])
def test_logits_are_not_rounded_to_half_precision(dtype: torch.dtype, small_checkpoint: Path) -> None:
    model = LanguageModel.load(small_checkpoint, CPU, dtype, slots=1, max_tokens=64)
    none = torch.zeros(0, dtype=torch.int64)
    logits = model.prefill([0], [model.embed(none, torch.arange(9), none)])
    assert logits.dtype == FLOAT32
    assert (logits != logits.to(dtype).float()).float().mean() > 0.9


# The vocoder


def test_the_vocoder_is_quick_where_its_weights_bear_it(
    small_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exact, told = load_vocoder(small_checkpoint, CPU, FLOAT32)
    assert (exact.dtype, told) == (FLOAT32, "fp32")
    half, told = load_vocoder(small_checkpoint, CPU, FP16)
    assert half.dtype == FP16
    assert told.startswith("fp16, ")
    assert LEAST_SNR_DB < float(told.split()[1]) < 80
    assert not caplog.records


def test_a_vocoder_that_half_precision_spoils_stays_exact(
    small_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = torch.load(small_checkpoint / "hift.pt", weights_only=True)
    # So loud within that sines are taken of it, half precision has no digits left behind the point.
    name = "conv_pre.parametrizations.weight.original0"
    state[name] *= 300.0
    torch.save(state, tmp_path / "hift.pt")
    vocoder, told = load_vocoder(tmp_path, CPU, BF16)
    assert vocoder.dtype == FLOAT32
    assert told.startswith("fp32: bf16 would have")
    assert "the vocoder runs in fp32" in caplog.text


# Lanes


def test_one_lane_has_to_be_quicker_beyond_doubt() -> None:
    assert LaneTable({1: (0.10, 0.19), 2: (0.10, 0.20)}).best == 2
    assert LaneTable({1: (0.07, 0.13), 2: (0.08, 0.15)}).best == 1
    assert LaneTable({1: (0.07, 0.13), 4: (0.08, 0.15)}).best == 1
    assert LaneTable({1: (0.20, 0.40), 4: (0.08, 0.15)}).best == 4


def test_lanes_are_measured_on_the_flow_itself(small_checkpoint: Path) -> None:
    with using_threads(2):
        flow = Flow.load(small_checkpoint, CPU, FLOAT32, Lanes(2))
        table = measure(flow, 2)
        assert all(time > 0 for times in table.seconds.values() for time in times)
        assert set(table.seconds) == {1, 2}
        flow.lanes.limit(2)
        assert choose_lanes(flow) == "2", "a small model is not worth a measurement"
        flow.lanes.limit(1)
        assert flow.lanes.run(lambda items: [torch.get_num_threads() for _ in items], [1, 2, 3]) == [2, 2, 2]
        flow.lanes.limit(2)
        assert flow.lanes.run(lambda items: [torch.get_num_threads() for _ in items], [1, 2, 3]) == [1, 1, 1]
