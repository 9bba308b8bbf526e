"""Why the library has failed to load a model: a damaged file, an import, an old library, or nothing we know."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
import yaml
from ruamel.yaml import error as ruamel_error

from cosyserve.check.model_folder import Model
from cosyserve_workers.cosyvoice.failed_imports import in_one_line, is_import
from cosyserve_workers.cosyvoice.library import Library
from cosyserve_workers.engine import LoadError

_BROKEN_YAML = (yaml.YAMLError, ruamel_error.YAMLError)
"""The library reads its configuration with both."""
_MISUNDERSTANDINGS = (ImportError, AttributeError, TypeError, AssertionError, ValueError, KeyError, *_BROKEN_YAML)
"""What the library raises over a configuration that it does not know."""
_WEIGHTS = frozenset({".pt", ".onnx", ".safetensors"})
_READ_AT_ONCE = 2**20
_LARGEST_SESSION = 2**30
"""Bytes. TensorRT's source may be larger than onnxruntime should be asked to open for a look."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """What took part in a load that failed."""

    library: Library
    model: Model
    folder: Path

    def accuse(self, error: Exception) -> None:
        """Raise LoadError where an operator can do something about it; return where that is not clear."""
        for path in sorted(path for path in self.folder.rglob("*") if path.suffix in _WEIGHTS and path.is_file()):
            if _is_damaged(path):
                fetch = self.model.download(self.folder, str(path.relative_to(self.folder)))
                raise LoadError(f"{path} is damaged: delete it, then {fetch}") from error
        if is_import(error):
            raise LoadError(in_one_line(error, self.library.folder)) from error
        message = " ".join(str(error).split())[:200]
        structure = self.folder / self.model.yaml
        if "Error(s) in loading state_dict" in message:
            fetch = self.model.download(self.folder)
            raise LoadError(f"the weights do not fit {structure} ({message}): fetch both anew: {fetch}") from error
        if isinstance(error, _MISUNDERSTANDINGS):
            fetch = self.model.download(self.folder, structure.name)
            raise LoadError(
                f"the CosyVoice library in {self.library.folder} cannot make sense of {structure} "
                f"({type(error).__name__}: {message}): {self.library.update()}; or fetch the file anew: {fetch}"
            ) from error


def _is_damaged(path: Path) -> bool:
    try:
        _open_weights(path)
    except MemoryError:
        return False
    except Exception:
        return True
    return False


def _open_weights(path: Path) -> None:
    match path.suffix:
        case ".pt":
            if zipfile.is_zipfile(path):
                # Mapped, not read: only so much is looked at. Files of an old format cannot be mapped.
                torch.load(path, map_location="cpu", mmap=True, weights_only=True)
                _read_archive(path)
            else:
                torch.load(path, map_location="cpu", weights_only=True)
        case ".onnx" if path.stat().st_size < _LARGEST_SESSION:
            onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        case ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt"):
                pass


def _read_archive(path: Path) -> None:
    """Raises BadZipFile where an entry is not what it was written as, or not where it should be."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as content:
                while entry.CRC and content.read(_READ_AT_ONCE):
                    pass
