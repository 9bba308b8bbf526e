"""The language model's decode step as CUDA graphs: hundreds of small kernels started at one go.

A graph has fixed shapes and addresses. So it runs all slots, whoever is in them, one graph for each span of attention.
A slot that takes no part is given its own next position: what is written there is overwritten by the stream's own next
token before anybody reads it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from cosyserve_workers.native.lm import LanguageModel

TOLERANCE = 0.05
"""Of a graph's logits against the same step without one, relative to the largest: it tells a broken graph from
half-precision rounding."""

Step = Callable[[], Tensor]
Capture = Callable[[Step], Step]
"""Makes of a step one that does the same with what then lies in the same tensors, and returns the same tensor."""

log = logging.getLogger(__name__)


class DecodeGraphs:
    """Decode steps of one model. capture: how a graph is made, `capture_cuda` but in tests."""

    def __init__(self, model: "LanguageModel", capture: Capture) -> None:
        self._model = model
        self._capture = capture
        self._tokens = torch.zeros(model.slots, dtype=torch.int64, device=model.device)
        self._positions = torch.zeros(model.slots, dtype=torch.int64, device=model.device)
        self._graphs: dict[int, Step] = {}
        self._sound = True

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], tokens: Tensor, positions: Sequence[int], span: int) -> Tensor:
        """Run a step for the streams in `slots`.

        tokens: [B] int64 on the device. positions: of every slot of the model, where its next token goes. span: as
        `LanguageModel.step`. Returns [B, vocab] float32.
        """
        rows = torch.tensor(slots).to(self._model.device, non_blocking=True)
        self._tokens.index_copy_(0, rows, tokens)
        self._positions.copy_(torch.tensor(positions), non_blocking=True)
        if not self._sound:
            return self._step(span).index_select(0, rows)
        if span not in self._graphs:
            return self._first(span).index_select(0, rows)
        return self._graphs[span]().index_select(0, rows)

    def _step(self, span: int) -> Tensor:
        return self._model.step(None, self._tokens, self._positions, span)

    def _first(self, span: int) -> Tensor:
        """Make the graph of a span, and see that it does what it should. Running a step twice changes nothing."""
        plain = self._step(span)
        try:
            graph = self._capture(lambda: self._step(span))
            difference = (graph() - plain).abs().max() / plain.abs().max()
        except RuntimeError as error:
            log.warning("CUDA graphs are off, a step cannot be captured: %s", str(error).partition("\n")[0])
            self._sound = False
            return plain
        if difference.item() > TOLERANCE:
            log.warning("CUDA graphs are off: a step's scores differ by %.2g", difference.item())
            self._sound = False
        self._graphs[span] = graph
        return plain


def capture_cuda(step: Step) -> Step:
    """Record a step on the GPU."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        # What libraries set up at their first call cannot be recorded.
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
