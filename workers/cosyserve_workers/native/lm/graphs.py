"""The language model's decode step as CUDA graphs, for all slots, whoever is in them.

There is one for each span of attention. A slot that takes no part is given its own next position: what is written there
is overwritten by the stream's own next token before anybody reads it.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs, Record


class Model(Protocol):
    """What is recorded: a language model with its slots."""

    slots: int
    device: torch.device

    def step(self, slots: Tensor | None, tokens: Tensor, positions: Tensor, span: int) -> Tensor:
        """As `LanguageModel.step`."""


class DecodeGraphs:
    """Decode steps of one model. record: as `Graphs`."""

    def __init__(self, model: Model, record: Record) -> None:
        self._model = model
        self._graphs = Graphs("the language model", record)
        self._tokens = torch.zeros(model.slots, dtype=torch.int64, device=model.device)
        self._positions = torch.zeros(model.slots, dtype=torch.int64, device=model.device)

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], tokens: Tensor, positions: Sequence[int], span: int) -> Tensor:
        """Run a step for the streams in `slots`.

        tokens: [B] int64 on the device. positions: of every slot of the model, where its next token goes. span: as
        `LanguageModel.step`. Returns [B, vocab] float32.
        """
        rows = torch.tensor(slots).to(self._model.device, non_blocking=True)
        self._tokens.index_copy_(0, rows, tokens)
        self._positions.copy_(torch.tensor(positions), non_blocking=True)
        (logits,) = self._graphs.run(span, lambda: (self._model.step(None, self._tokens, self._positions, span),))
        return logits.index_select(0, rows)
