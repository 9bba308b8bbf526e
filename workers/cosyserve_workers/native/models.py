"""The two models that can be served, and what tells them apart before any of their networks is read."""

from dataclasses import dataclass
from pathlib import Path

from cosyserve.check.model_folder import MODELS, Fault, file_fault
from cosyserve_workers.engine import LoadError


@dataclass(frozen=True, slots=True)
class Model:
    """name: as it is published. yaml: the file that tells its folder. speech_tokenizer: the file of that network.

    mel_top_hz: up to where its mel hears. flow_kept: the share of its flow's weights that stays in memory. The speech
    tokens of the two mean different sounds.
    """

    name: str
    yaml: str
    speech_tokenizer: str
    mel_top_hz: float
    flow_kept: float


_TOP_HZ = {"CosyVoice2": 8_000.0, "CosyVoice3": 12_000.0}
_FLOW_KEPT = {"CosyVoice2": 1.0, "CosyVoice3": 1 - 140.6 / 332.3}
"""Of the latter's 332.3 million numbers, 140.6 hear the time alone, and are worked out at load."""
COSYVOICE2, COSYVOICE3 = (
    Model(model.name, model.yaml, model.speech_tokenizer, _TOP_HZ[model.name], _FLOW_KEPT[model.name])
    for model in MODELS
)


def model_in(folder: Path) -> Model:
    """Which of them a folder is meant to hold, by its yaml. Raises LoadError where that is neither, or both."""
    if not folder.is_dir():
        raise LoadError(f"there is no model folder {folder}: set model.dir, or get the weights with `make model`")
    found = [model for model in (COSYVOICE2, COSYVOICE3) if file_fault(folder / model.yaml) is not Fault.MISSING]
    if not found:
        raise LoadError(
            f"{folder} has no {COSYVOICE2.yaml} and no {COSYVOICE3.yaml}: set model.dir to a folder of one of the two"
        )
    if len(found) > 1:
        raise LoadError(
            f"{folder} has {COSYVOICE2.yaml} and {COSYVOICE3.yaml}: the files of two models are mixed there; download "
            "one of them again, into a folder of its own"
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder of a model. language_model: the file with that network's weights."""

    path: Path
    model: Model
    language_model: str = "llm.pt"

    @classmethod
    def at(cls, path: Path, language_model: str = "llm.pt") -> "ModelFolder":
        """The one there, by its yaml. Raises LoadError."""
        return cls(path, model_in(path), language_model)


def of_the_other(model: Model, path: Path, what: str) -> LoadError:
    """What to raise where a file in a folder of one model is the other's. what: it is."""
    other = COSYVOICE3 if model is COSYVOICE2 else COSYVOICE2
    return LoadError(
        f"{path} is the {what} of {other.name}, {model.yaml} says {model.name}: all files must be of one model; "
        "download the folder again"
    )
