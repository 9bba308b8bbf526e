"""The networks on a GPU that is not there: tensors with shapes, types and a device, but no numbers.

An operation on tensors of two devices raises, and so does whatever would wait for the GPU to tell a number.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from cosyserve_workers.mel_stretch import Stretch  # noqa: E402
from cosyserve_workers.native.cuda_graphs import Graphs  # noqa: E402
from cosyserve_workers.native.flow.flow import Flow, FlowStep  # noqa: E402
from cosyserve_workers.native.lm.model import LanguageModel  # noqa: E402
from cosyserve_workers.native.lm.program import TokenProgram  # noqa: E402
from cosyserve_workers.native.lm.sampling import Sampler  # noqa: E402
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep  # noqa: E402

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu() -> Iterator[Any]:
    """All that is computed inside is computed without numbers."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        yield mode


@contextmanager
def moving(mode: Any, dtype: Any) -> Iterator[None]:
    """While it lasts, a copy of anything lies on the GPU, its float32 in `dtype`."""

    def move(tensor: Tensor, _: object) -> Tensor:
        moved: Tensor = mode.from_tensor(tensor).to(GPU, dtype if tensor.dtype == torch.float32 else tensor.dtype)
        return moved

    rules = {torch.device: lambda *_: GPU, torch.dtype: lambda kind, _: dtype if kind == torch.float32 else kind}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "__deepcopy__", move)
        for kind, rule in rules.items():
            patch.setitem(copy._deepcopy_dispatch, kind, rule)  # type: ignore[attr-defined]
        yield


def on_gpu(network: Any, mode: Any, dtype: Any = torch.float32) -> Any:
    with moving(mode, dtype):
        return copy.deepcopy(network)


@pytest.fixture(autouse=True)
def plain_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN's layouts are a CPU's."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)


@pytest.fixture
def language_model(small_checkpoint: Path) -> LanguageModel:
    return LanguageModel.load(small_checkpoint, CPU, torch.float32, slots=4, max_tokens=256)


@pytest.fixture
def flow(small_checkpoint: Path) -> Flow:
    return Flow.load(small_checkpoint, CPU, torch.float32)


@pytest.fixture
def vocoder(small_checkpoint: Path) -> Vocoder:
    return Vocoder.load(small_checkpoint, CPU, torch.float32)


def ids(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def test_a_check_for_what_would_wait(gpu: Any) -> None:
    with pytest.raises(Exception, match="_local_scalar_dense"):
        float(torch.zeros(2, device=GPU).sum())
    with pytest.raises(Exception, match=r"(?i)device"):
        torch.zeros(2, device=GPU) + torch.zeros(2)


@pytest.mark.full
def test_language_model_and_sampler(language_model: LanguageModel, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_gpu(language_model, gpu, torch.bfloat16)
    sampler = on_gpu(Sampler(4, 100, model.sizes.vocab, model.stops, CPU), gpu)
    monkeypatch.setattr(Graphs, "make", lambda *_: None)  # it waits, to compare
    monkeypatch.setattr(torch.cuda.Event, "record", lambda _: None)
    program = TokenProgram(model, sampler, lambda step: step)
    for slot in (0, 2):
        program.start(slot, slot, segment=0, minimum=2, maximum=100)
    start = model.embed(ids(3), ids(5), ids(7))
    assert start.dtype == torch.bfloat16
    assert program.prefill([0, 2], [start, start], [True, True]).on_host.shape == (2,)
    for _ in range(2):
        drawn = program.decode([0, 2, 1])
        assert (drawn.on_host.device, drawn.on_host.dtype, drawn.on_host.shape) == (CPU, torch.int64, (3,))
    # Without the sampler, for tokens that are given.
    logits = model.prefill([0, 2], [start, start])
    logits = model.decode([0, 2], ids(2).to(GPU))
    assert (logits.device, logits.dtype, len(logits)) == (GPU, torch.float32, 2)


@pytest.mark.full
def test_flow_where_keys_and_values_are_gathered(flow: Flow, gpu: Any) -> None:
    """As on older cards; in rows over pages it runs in `test_launches`."""
    moved = on_gpu(flow, gpu, torch.bfloat16)
    voice = moved.voice_state(ids(60), torch.zeros(120, 80), torch.zeros(192))
    first, second = moved.open(voice), moved.open(voice)
    mels = moved.advance([FlowStep(first, ids(30)), FlowStep(second, ids(60), keep=False)])
    (rest,) = moved.advance([FlowStep(first, ids(7), final=True)])
    for mel in (*mels, rest):
        assert (mel.device, mel.dtype) == (GPU, torch.float32)
        assert mel.shape[1] > 0


@pytest.mark.full
def test_pace_and_vocoder(vocoder: Vocoder, gpu: Any) -> None:
    moved = on_gpu(vocoder, gpu)
    pace = Stretch(1.3)
    streams = [moved.open(1), moved.open(2)]
    for last in (False, True):
        mel = pace.push(torch.zeros(1, 80, 50, device=GPU), last=last)[0]
        for samples in moved.advance([VocoderStep(stream, mel, last) for stream in streams]):
            assert samples.device == GPU
            assert len(samples) > 0
