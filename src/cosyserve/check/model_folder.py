"""A CosyVoice model folder, told by its files: which model it holds, what it lacks, and how to get that."""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cosyserve.check.finding import Finding, State
from cosyserve.check.weight_files import is_damaged

LFS_POINTER = b"version https://git-lfs"


class Fault(StrEnum):
    """What can be wrong with a model's file: a sentence without its subject."""

    MISSING = "is missing"
    EMPTY = "is empty"
    LFS_POINTER = "is a Git LFS pointer, not the file itself"
    DAMAGED = "is cut short, or not what its name says"
    FOLDER = "is a folder"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Model:
    """A published model: its name, how its folder is told from others, and where it can be had."""

    name: str
    yaml: str
    speech_tokenizer: str
    modelscope: str
    huggingface: str

    def files(self) -> list[tuple[str, ...]]:
        """What the folder must hold; of alternatives one is enough, the published one comes first."""
        plain = (self.yaml, "llm.pt", "flow.pt", "hift.pt", "campplus.onnx", self.speech_tokenizer)
        blank = "CosyVoice-BlankEN"
        return [
            *((name,) for name in plain),
            (f"{blank}/config.json",),
            (
                f"{blank}/model.safetensors",
                f"{blank}/model.safetensors.index.json",
                f"{blank}/pytorch_model.bin",
                f"{blank}/pytorch_model.bin.index.json",
            ),
            (f"{blank}/vocab.json", f"{blank}/tokenizer.json"),
            (f"{blank}/merges.txt", f"{blank}/tokenizer.json"),
        ]

    def download(self, directory: Path, *files: str) -> str:
        """The command that fetches the folder, or only some of its files."""
        include = f" --include {shlex.join(files)}" if files else ""
        target = shlex.quote(str(directory))
        return f"pip install modelscope && modelscope download --model {self.modelscope}{include} --local_dir {target}"


MODELS = (
    Model(
        "CosyVoice2",
        "cosyvoice2.yaml",
        "speech_tokenizer_v2.onnx",
        "iic/CosyVoice2-0.5B",
        "FunAudioLLM/CosyVoice2-0.5B",
    ),
    Model(
        "CosyVoice3",
        "cosyvoice3.yaml",
        "speech_tokenizer_v3.onnx",
        "FunAudioLLM/Fun-CosyVoice3-0.5B-2512",
        "FunAudioLLM/Fun-CosyVoice3-0.5B-2512",
    ),
)

OPTIONAL_FILES = {
    "spk2info.pt": "the model has no speakers of its own, only prompts",
    "flow.decoder.estimator.fp32.onnx": "TensorRT cannot be used",
}


def model_in(directory: Path) -> Model | None:
    """Which model the folder is meant to hold, by its yaml."""
    return next((model for model in MODELS if file_fault(directory / model.yaml) is not Fault.MISSING), None)


def folder_problems(directory: Path) -> list[Finding]:
    """Why `directory` is not a whole model; empty if it is."""
    fault = file_fault(directory)
    if fault is Fault.MISSING:
        return [Finding(State.MISSING, f"the model folder {directory} is missing", MODELS[0].download(directory))]
    if fault is not Fault.FOLDER:
        what = fault if fault is Fault.UNREADABLE else "is a file"
        return [Finding(State.PROBLEM, f"the model folder {directory} {what}", "set model.dir to a model folder")]
    model = model_in(directory)
    if model is None:
        yamls = " nor ".join(model.yaml for model in MODELS)
        return [Finding(State.MISSING, f"{directory} holds neither {yamls}", MODELS[0].download(directory))]
    faults = dict(filter(None, (_first_fault(directory, names) for names in model.files())))
    damaged = any(fault is not Fault.MISSING for fault in faults.values())
    remedy = f"{'delete what is damaged, then ' if damaged else ''}{model.download(directory, *faults)}"
    return [
        Finding(State.MISSING if fault is Fault.MISSING else State.PROBLEM, f"{directory / name} {fault}", remedy)
        for name, fault in faults.items()
    ]


def _first_fault(directory: Path, names: tuple[str, ...]) -> tuple[str, Fault] | None:
    """Which of the alternatives to blame, and for what; None where one of them is there."""
    faults = [(name, file_fault(directory / name)) for name in names]
    if not all(fault for _, fault in faults):
        return None
    # A damaged one is likelier meant than one that is not there.
    found = [(name, fault) for name, fault in faults if fault is not Fault.MISSING]
    name, fault = (found or faults)[0]
    return (name, fault) if fault else None


def file_fault(path: Path) -> Fault | None:
    """Why `path` is not a whole file with something in it."""
    try:
        if path.is_dir():
            return Fault.FOLDER
        with path.open("rb") as file:
            head = file.read(len(LFS_POINTER))
        damaged = head != LFS_POINTER and bool(head) and is_damaged(path)
    except (FileNotFoundError, NotADirectoryError):
        return Fault.MISSING
    except OSError:
        return Fault.UNREADABLE
    if not head:
        return Fault.EMPTY
    return Fault.LFS_POINTER if head == LFS_POINTER else Fault.DAMAGED if damaged else None
