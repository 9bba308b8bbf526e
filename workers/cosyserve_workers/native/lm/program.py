"""The language model and its sampler as one program: rows of many streams in, the next token of each out.

A token that is drawn goes into the next step without leaving the device; the host may read it later. So the host can
have the next step launched before it knows what the last one drew.

On a CPU batches are as they come. On a GPU the program is static: rows are filled up to one of a few fixed sizes with
rows of a stream that is nobody's, everything else that differs is a number in a tensor, and each size is one CUDA
graph, recorded at load.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs, Record
from cosyserve_workers.native.lm.attention import Piece
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.transfers import Fetched, pinned, send

PREFILL_BUCKETS = (16, 32, 64, 128, 256, 512)
"""Rows of a prefill."""
NO_TOKENS = torch.zeros(0, dtype=torch.int64)


class Draws(Protocol):
    """What draws tokens: `sampling.Sampler`, or what a measurement puts around it."""

    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        """Begin a segment in a slot."""

    def step(self, slots: Tensor, logits: Tensor) -> Tensor:
        """Draw the next token of each slot: [B] int64, [B, vocab] -> [B] int64. Part of a graph on a GPU."""


class TokenProgram:
    """Steps of a model's streams, each with a token for some of them.

    record: how a GPU's graphs are made; the program is static with it, and as on a CPU without.
    """

    def __init__(self, model: LanguageModel, draws: Draws, record: Record | None = None) -> None:
        self._model = model
        self._draws = draws
        # The last is never written to: with what rows of nobody's begin with, a step may be made twice.
        self._said = torch.zeros(model.slots + 2, dtype=torch.int64, device=model.device)
        self._static = None if record is None else _Static(self, model, Graphs("the language model", record))

    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        """Begin a segment in a slot, as `Sampler.start`."""
        self._draws.start(slot, seed, segment, minimum, maximum)

    @torch.inference_mode()
    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor], whole: Sequence[bool]) -> Fetched:
        """Append inputs as `LanguageModel.prefill`, and give a token to each whose input is whole by now, in order.

        Raises ValueError where a slot has no room, and where there are more rows than a static program's largest size.
        """
        if self._static is not None:
            return self._static.prefill(slots, inputs, whole)
        drawing = [index for index, complete in enumerate(whole) if complete]
        logits = self._model.prefill(slots, inputs)
        if not drawing:
            return Fetched(NO_TOKENS)
        return Fetched(self.draw(self._send([slots[index] for index in drawing]), logits[drawing]))

    @torch.inference_mode()
    def decode(self, slots: Sequence[int]) -> Fetched:
        """Append the token that each of these streams was given last, and give each another, in order.

        Raises ValueError where a slot has no room.
        """
        if self._static is not None:
            return self._static.decode(slots)
        rows = self._send(slots)
        return Fetched(self.draw(rows, self._model.decode(slots, self.said(rows))))

    def trial(self) -> Callable[[], object]:
        """A decode step of all slots, to be timed: it is nobody's, and changes nothing."""
        if self._static is not None:
            return self._static.trial()
        return _DecodeStep(self, self._model, self._model.slots)

    def said(self, slots: Tensor) -> Tensor:
        """What each was given last: [B] int64 both."""
        return self._said.index_select(0, slots)

    def draw(self, slots: Tensor, logits: Tensor) -> Tensor:
        """Give each a token: [B] int64, [B, vocab] -> [B] int64."""
        tokens = self._draws.step(slots, logits)
        self._said.index_copy_(0, slots, tokens)
        return tokens

    def _send(self, slots: Sequence[int]) -> Tensor:
        return send(torch.tensor(slots, dtype=torch.int64), self._model.device)


class _Static:
    """The program in fixed sizes."""

    def __init__(self, program: TokenProgram, model: LanguageModel, graphs: Graphs) -> None:
        self._program = program
        self._model = model
        self._graphs = graphs
        self._decodes = [_DecodeStep(program, model, rows) for rows in decode_buckets(model.slots)]
        self._prefills = [_PrefillStep(program, model, rows) for rows in PREFILL_BUCKETS]
        every: list[_DecodeStep | _PrefillStep] = [*self._decodes, *self._prefills]
        for step in every:
            # All rows are nobody's: a step that is made twice to compare them changes nothing.
            graphs.make(step.shape, step)
        graphs.seal()

    def decode(self, slots: Sequence[int]) -> Fetched:
        step = _smallest(self._decodes, len(slots))
        step.place(self._model.take(slots, [1] * len(slots)))
        return Fetched(self._graphs.replay(step.shape, step)[1][: len(slots)])

    def trial(self) -> Callable[[], object]:
        step = self._decodes[-1]
        step.place([])
        return lambda: self._graphs.replay(step.shape, step)

    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor], whole: Sequence[bool]) -> Fetched:
        counts = [len(rows) for rows in inputs]
        step = _smallest(self._prefills, sum(counts))
        step.place(self._model.take(slots, counts), whole, inputs)
        return Fetched(self._graphs.replay(step.shape, step)[1][: sum(whole)])


def decode_buckets(slots: int) -> list[int]:
    """Rows of a decode step: 1, 2, 4, ... and as many as there are slots."""
    powers = [1 << power for power in range(slots.bit_length()) if 1 << power < slots]
    return [*powers, slots]


class _DecodeStep:
    """A step of `rows` streams at most."""

    def __init__(self, program: TokenProgram, model: LanguageModel, rows: int) -> None:
        self.rows = rows
        self.shape = ("decode", rows)
        self._program = program
        self._model = model
        self._staged = _Staged([rows] * 3, [model.scratch, 0, model.scratch + 1], model.device)

    def place(self, pieces: Sequence[Piece]) -> None:
        """Tell whose step it is, and where."""
        slots = [piece.slot for piece in pieces]
        self._staged.put([slots, [piece.start for piece in pieces], slots])

    def __call__(self) -> tuple[Tensor, ...]:
        """Return logits and tokens."""
        slots, positions, speakers = self._staged.parts
        x = self._model.embed_speech(self._program.said(speakers))
        logits = self._model.run(x, self._model.attention(slots, positions))
        return logits, self._program.draw(slots, logits)


class _PrefillStep:
    """`rows` rows at most, of any streams."""

    def __init__(self, program: TokenProgram, model: LanguageModel, rows: int) -> None:
        self.rows = rows
        self.shape = ("prefill", rows)
        self._program = program
        self._model = model
        draws = min(rows, model.slots)
        self._staged = _Staged([rows, rows, draws, draws], [model.scratch, 0, 0, model.scratch], model.device)
        self._inputs = torch.zeros(rows, model.sizes.hidden, dtype=model.dtype, device=model.device)

    def place(self, pieces: Sequence[Piece], whole: Sequence[bool], inputs: Sequence[Tensor]) -> None:
        """Tell whose rows they are, where they go, and which streams draw."""
        slots = [piece.slot for piece in pieces for _ in range(piece.count)]
        positions = [place for piece in pieces for place in range(piece.start, piece.end)]
        ends = accumulate(piece.count for piece in pieces)
        drawing = [(end - 1, piece.slot) for end, piece, complete in zip(ends, pieces, whole, strict=True) if complete]
        self._staged.put([slots, positions, [row for row, _ in drawing], [slot for _, slot in drawing]])
        torch.cat(list(inputs), out=self._inputs[: len(slots)])

    def __call__(self) -> tuple[Tensor, ...]:
        """Return logits and tokens of the streams that draw."""
        slots, positions, wanted, drawing = self._staged.parts
        logits = self._model.run(self._inputs, self._model.attention(slots, positions), wanted)
        return logits, self._program.draw(drawing, logits)


class _Staged:
    """Whole numbers that a step reads, side by side: one copy to the device brings them all.

    lengths: of each part. filling: what a part holds beyond what is put there.
    """

    def __init__(self, lengths: Sequence[int], filling: Sequence[int], device: torch.device) -> None:
        self._lengths = lengths
        self._filling = filling
        self._device = device
        self._values = torch.zeros(sum(lengths), dtype=torch.int64, device=device)
        self.parts = torch.split(self._values, list(lengths))
        self.put([[] for _ in lengths])

    def put(self, parts: Sequence[Sequence[int]]) -> None:
        """Have these there for what is launched from now on."""
        filled = [
            number
            for part, length, filling in zip(parts, self._lengths, self._filling, strict=True)
            for number in (*part, *[filling] * (length - len(part)))
        ]
        self._values.copy_(pinned(torch.tensor(filled), self._device), non_blocking=True)


Sized = TypeVar("Sized", _DecodeStep, _PrefillStep)


def _smallest(steps: Sequence[Sized], rows: int) -> Sized:
    step = next((step for step in steps if step.rows >= rows), None)
    if step is None:
        raise ValueError(f"{rows} rows are more than the {steps[-1].rows} that fit into one step")
    return step
