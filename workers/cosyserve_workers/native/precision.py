"""Which numbers the networks compute with: by the setting, the device, and what the processor is quick with."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.kernels.cards import is_new
from cosyserve_workers.native.lanes import using_threads
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
_EXACT_INT8_FLAGS = frozenset({"amx_int8", "avx512_vnni", "avx_vnni"})


@dataclass(frozen=True, slots=True)
class Processor:
    """What a CPU can do. flags: as Linux names them. blocks: the types whose weights oneDNN can keep blocked on it."""

    flags: frozenset[str]
    blocks: frozenset[torch.dtype]

    @classmethod
    def here(cls) -> "Processor":
        """The one we run on."""
        return cls(_flags(CPUINFO), _blocked())

    @property
    def quick_in_bf16(self) -> bool:
        """Whether it multiplies in bf16; others only imitate it, more slowly than float32."""
        return bool(self.flags & _BF16_FLAGS) and torch.bfloat16 in self.blocks

    @property
    def sums_int8_exactly(self) -> bool:
        """Whether sums of products of bytes find room; older ones add pairs of them in 16 bits, and clip."""
        return bool(self.flags & _EXACT_INT8_FLAGS)


@dataclass(frozen=True, slots=True)
class Precision:
    """What is computed in what.

    name: of the language model, and of the flow if `flow_name` is empty. int8: whether the language model's matrices
    are bytes. vocoder: its dtype, if the weights at hand allow it (`half_vocoder`).
    """

    name: str
    int8: bool = False
    vocoder: torch.dtype = torch.float32
    flow_name: str = ""

    @property
    def dtype(self) -> torch.dtype:
        """The language model's, as torch calls it."""
        return DTYPES[self.name]

    @property
    def flow(self) -> torch.dtype:
        """The flow's."""
        return DTYPES[self.flow_name or self.name]


def choose(
    wanted: str, language_model: str, device: torch.device, processor: Processor, model: Model = COSYVOICE2
) -> Precision:
    """What the settings `model.precision` and `model.language_model` mean here. Raises LoadError."""
    name, flow_name = wanted, ""
    if wanted == "auto" and device.type == "cuda":
        name, flow_name = _quick_on_a_gpu(model, new=is_new(device))
    elif wanted == "auto":
        name = "bf16" if processor.quick_in_bf16 else "fp32"
    if name not in DTYPES:
        raise LoadError(f"model.precision {wanted!r} is not known here: set it to auto, {', '.join(DTYPES)}")
    int8 = language_model == "int8"
    if int8 and device.type != "cpu":
        raise LoadError("model.language_model int8 is for CPUs: set it to auto, or model.device to cpu")
    if int8 and torch.int8 not in processor.blocks:
        raise LoadError("model.language_model int8 needs oneDNN, which this PyTorch lacks: set it to auto")
    # The vocoder adds up phases and squares amplitudes: only where it pays, and where `half_vocoder` hears no loss.
    quick = device.type == "cpu" and name == "bf16" and processor.quick_in_bf16
    return Precision(name, int8, torch.bfloat16 if quick else torch.float32, flow_name)


def _quick_on_a_gpu(model: Model, *, new: bool) -> tuple[str, str]:
    """Of language model and flow. new: whether the card multiplies in bf16.

    Rounded to bf16, the flow's mel is seven times as far off as in fp16, where CosyVoice2's numbers find room and
    CosyVoice3's do not.
    """
    if model is COSYVOICE3:
        return ("bf16", "bf16") if new else ("fp16", "fp32")
    return ("bf16", "fp16") if new else ("fp16", "fp16")


@cache
def _flags(cpuinfo: Path) -> frozenset[str]:
    """Those of the first core; none where the kernel does not tell."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


@cache
def _blocked() -> frozenset[torch.dtype]:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return frozenset()
    # The caller may be anybody, and keeps no helpers (see `lanes`).
    with using_threads(1):
        blocked = {dtype for dtype in DTYPES.values() if _multiplies(dtype)}
    return frozenset(blocked | {torch.int8} if hasattr(torch.ops.onednn, "qlinear_prepack") else blocked)


@torch.inference_mode()
def _multiplies(dtype: torch.dtype) -> bool:
    """Whether the product with blocked weights is one: tried, for processors differ, and few have been seen."""
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(shape, generator=generator).to(dtype) for shape in ((64, 96), (3, 96)))
    wanted = x.float() @ weight.float().t()
    try:
        reordered = torch.ops.mkldnn._reorder_linear_weight(weight)  # noqa: SLF001 - it has no public face
        product = torch.ops.mkldnn._linear_pointwise(x, reordered, None, "none", [], "")  # noqa: SLF001
    except (AttributeError, RuntimeError):
        return False
    return bool((product.float() - wanted).abs().max() <= 4 * torch.finfo(dtype).eps * wanted.abs().max())
