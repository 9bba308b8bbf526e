"""The two models of a folder that come as ONNX: the speaker encoder and the speech tokenizer."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.features.spectra import FBANK_BINS, LOG_MEL_BINS
from cosyserve_workers.native.lm.weights import STOP

SPEAKER_FILE = "campplus.onnx"
EMBEDDING = 192

_CUDA = "CUDAExecutionProvider"
_TRIAL_FRAMES, _TRIAL_TOKENS = 100, 25
_ANOTHER = "it is another model; copy the whole model folder again"

log = logging.getLogger(__name__)


class SpeakerEncoder:
    """CAM++: a filter bank to the speaker's embedding. Safe to call from several threads.

    Loading tries it on noise, and raises LoadError where the file is missing, truncated or another model.
    """

    def __init__(self, model_dir: Path) -> None:
        path = model_dir / SPEAKER_FILE
        # On the CPU always, as in the library: a GPU would be set up anew for each length of prompt.
        self._session = _session(path, ["CPUExecutionProvider"], threads=1)
        found = _try(path, lambda: self(_noise(_TRIAL_FRAMES, FBANK_BINS)))
        if found.shape != (EMBEDDING,) or not np.isfinite(found).all():
            raise LoadError(f"{path} gives {found.size} numbers for a voice, not {EMBEDDING}: {_ANOTHER}")

    def __call__(self, fbank: NDArray[np.float32]) -> NDArray[np.float32]:
        """[T, 80], mean removed -> [192] float32, of any norm."""
        (only,) = self._session.get_inputs()
        embedding: NDArray[np.float32] = self._session.run(None, {only.name: fbank[None]})[0].flatten()
        return embedding


class SpeechTokenizer:
    """Whisper's log-mel to speech tokens at 25 Hz. Safe to call from several threads.

    Loading tries it on noise, and raises LoadError where the file is missing, truncated or another model. It runs on
    `device` where that is a GPU and the installed onnxruntime can use one, else on the CPU.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path = path
        providers = _providers(device)
        self._session = _session(self._path, providers, threads=torch.get_num_threads())
        if len(providers) > 1 and self.runs_on == "cpu":
            log.warning(
                "new voices are heard on the CPU: this onnxruntime was built for CUDA and cannot use it here, mostly"
                " for want of its own CUDA and cuDNN; see its own lines above"
            )
        found = _try(self._path, lambda: self(_noise(LOG_MEL_BINS, _TRIAL_FRAMES)))
        if abs(len(found) - _TRIAL_TOKENS) > 1:
            raise LoadError(f"{self._path} gives {len(found)} tokens for a second, not {_TRIAL_TOKENS}: {_ANOTHER}")

    @property
    def runs_on(self) -> str:
        """`cuda` or `cpu`: what the session has, whatever it was to have."""
        return "cuda" if _CUDA in self._session.get_providers() else "cpu"

    def __call__(self, log_mel: NDArray[np.float32]) -> NDArray[np.int64]:
        """[128, T] -> about [T / 4] int64, each below 6561. Raises ValueError where the model gives others."""
        features, length = self._session.get_inputs()
        given = {features.name: log_mel[None], length.name: np.array([log_mel.shape[1]], np.int32)}
        tokens: NDArray[np.int64] = self._session.run(None, given)[0].flatten().astype(np.int64)
        if not ((tokens >= 0) & (tokens < STOP)).all():
            raise ValueError(f"{self._path} gives token {tokens.max()}; those of sound are below {STOP}")
        return tokens


def _providers(device: torch.device) -> list[Any]:
    """Where to run, best first; onnxruntime's plain wheel knows the CPU alone."""
    cpu = ["CPUExecutionProvider"]
    if device.type != "cuda" or _CUDA not in onnxruntime.get_available_providers():
        return cpu
    return [(_CUDA, {"device_id": device.index or 0}), *cpu]


def _session(path: Path, providers: list[Any], threads: int) -> Any:
    if not path.is_file():
        raise LoadError(f"{path} is missing: copy the whole model folder")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while they wait would take the cores from torch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no class in common
        raise LoadError(f"{path} cannot be read, it may be cut short ({_reason(error)}): copy it again") from error


def _try(path: Path, run: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Run a model on what it should hear: whether it is the one wanted shows in its inputs and outputs."""
    try:
        return run()
    except Exception as error:
        raise LoadError(f"{path} does not hear sound as it should ({_reason(error)}): {_ANOTHER}") from error


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)
