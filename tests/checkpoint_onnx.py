"""Stand-ins for the two ONNX models of a CosyVoice2 folder: the same borders as the real ones, and very small.

Both really hear the audio: different voices get different embeddings, different sounds different tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

FBANK_BINS, EMBEDDING = 80, 192
MEL_BINS = 128
LEVELS, DIGITS = 3, 8
SPEECH_TOKENS = LEVELS**DIGITS
"""A token is eight digits to base three (finite scalar quantisation), hence 6561 ids of sound. The language model has
three ids more: the first ends the speech, the others a trained model hardly ever says."""
FRAMES_PER_TOKEN = 4
"""100 log-mel frames and 25 tokens per second."""

_OPSET, _IR_VERSION = 17, 8  # old enough for every onnxruntime that the library runs with
_MEAN_SQUARE = 0.33  # of tanh of a projected frame, over sounds of many kinds
_HALF_STEP = 0.45  # parts a normal variable of unit deviation into three about equally likely levels


def write_campplus(path: Path, seed: int = 192) -> None:
    """Write the speaker encoder: `input` float32 [B, T, 80] (mean-removed fbank) -> `output` float32 [B, 192].

    It averages random odd and even functions of the frames over time (the plain mean is nought: the caller removes
    it), centred so that embeddings of different voices point in clearly different directions.
    """
    from onnx import TensorProto, helper

    units = EMBEDDING // 2
    random = np.random.default_rng(seed)
    weights = {
        "project": random.normal(0.0, 0.5 / np.sqrt(FBANK_BINS), (FBANK_BINS, units)),
        "mix": random.normal(0.0, 1.0, (EMBEDDING, EMBEDDING)),
        "centre": np.array(_MEAN_SQUARE),
    }
    nodes = [
        helper.make_node("MatMul", ["input", "project"], ["projected"]),
        helper.make_node("Tanh", ["projected"], ["odd"]),
        helper.make_node("Mul", ["odd", "odd"], ["square"]),
        helper.make_node("Sub", ["square", "centre"], ["even"]),
        helper.make_node("Concat", ["odd", "even"], ["both"], axis=2),
        helper.make_node("ReduceMean", ["both"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "mix"], ["output"]),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["B", "T", FBANK_BINS])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["B", EMBEDDING])]
    constants = _tensors({name: value.astype(np.float32) for name, value in weights.items()})
    _save(path, helper.make_graph(nodes, "campplus", inputs, outputs, constants))


def write_speech_tokenizer(path: Path, seed: int = 6561) -> None:
    """Write the tokenizer: `feats` float32 [1, 128, T], `feats_length` int32 [1] -> `indices` int32 [1, ceil(T / 4)].

    Each token sees its own four frames. The weights of a digit sum to zero over the bins, so that loudness alone
    does not change it. Frames beyond `feats_length` are not seen.
    """
    from onnx import TensorProto, helper

    kernel = np.random.default_rng(seed).normal(size=(DIGITS, MEL_BINS, FRAMES_PER_TOKEN))
    kernel -= kernel.mean(axis=1, keepdims=True)
    kernel *= 0.35 / np.sqrt(FRAMES_PER_TOKEN)
    constants: dict[str, NDArray[Any]] = {
        "kernel": kernel.astype(np.float32),
        "low": np.array(-_HALF_STEP, np.float32),
        "high": np.array(_HALF_STEP, np.float32),
        "powers": (LEVELS ** np.arange(DIGITS)).astype(np.int32).reshape(1, DIGITS, 1),
        "start": np.array([0], np.int64),
        "time": np.array([2], np.int64),
        "digit": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["feats_length"], ["end"], to=TensorProto.INT64),
        helper.make_node("Slice", ["feats", "start", "end", "time"], ["heard"]),
        helper.make_node(
            "Conv",
            ["heard", "kernel"],
            ["scores"],
            kernel_shape=[FRAMES_PER_TOKEN],
            strides=[FRAMES_PER_TOKEN],
            pads=[0, FRAMES_PER_TOKEN - 1],
        ),
        helper.make_node("Greater", ["scores", "low"], ["above_low"]),
        helper.make_node("Greater", ["scores", "high"], ["above_high"]),
        helper.make_node("Cast", ["above_low"], ["one"], to=TensorProto.INT32),
        helper.make_node("Cast", ["above_high"], ["two"], to=TensorProto.INT32),
        helper.make_node("Add", ["one", "two"], ["levels"]),
        helper.make_node("Mul", ["levels", "powers"], ["terms"]),
        helper.make_node("ReduceSum", ["terms", "digit"], ["indices"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, MEL_BINS, "T"]),
        helper.make_tensor_value_info("feats_length", TensorProto.INT32, [1]),
    ]
    outputs = [helper.make_tensor_value_info("indices", TensorProto.INT32, [1, "tokens"])]
    _save(path, helper.make_graph(nodes, "speech_tokenizer", inputs, outputs, _tensors(constants)))


def _save(path: Path, graph: onnx.GraphProto) -> None:
    """Check the graph and save it as one file, its constants inside."""
    import onnx
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _tensors(constants: Mapping[str, NDArray[Any]]) -> list[onnx.TensorProto]:
    """Arrays as named constants of a graph."""
    from onnx import numpy_helper

    return [numpy_helper.from_array(value, name) for name, value in constants.items()]
