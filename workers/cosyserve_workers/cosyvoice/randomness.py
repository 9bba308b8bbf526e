"""The same seed gives the same sound while other streams run, though the library draws from the process's generator."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_exclusive = threading.Lock()
_at_hand = threading.local()


def _generators() -> list[torch.Generator]:
    """The process's generators that the library may draw from."""
    cuda = list(torch.cuda.default_generators[:1]) if torch.cuda.is_available() else []
    return [torch.default_generator, *cuda]


class Dice:
    """A job's own state of the process's generators, put in their place for as long as it takes to draw."""

    def __init__(self, seed: int) -> None:
        self._states = [torch.Generator(generator.device).manual_seed(seed).get_state() for generator in _generators()]

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """In here, on this thread, what the library draws comes from these."""
        before = getattr(_at_hand, "dice", None)
        _at_hand.dice = self
        try:
            yield
        finally:
            _at_hand.dice = before

    @contextmanager
    def _installed(self) -> Iterator[None]:
        generators = _generators()
        with _exclusive:
            others = [generator.get_state() for generator in generators]
            _install(generators, self._states)
            try:
                yield
            finally:
                self._states = [generator.get_state() for generator in generators]
                _install(generators, others)


def _install(generators: list[torch.Generator], states: list[Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


@contextmanager
def _drawing() -> Iterator[None]:
    """Draw from the dice at hand, or, where there are none, from the process's generators as ever."""
    dice: Dice | None = getattr(_at_hand, "dice", None)
    if dice is None:
        yield
        return
    with dice._installed():  # noqa: SLF001 - the other half of the same mechanism
        yield


class _DicedSampler:
    """The library's sampler, drawing from the dice at hand."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _drawing():
            return self._sampler(*args, **kwargs)


class _DicedSource(nn.Module):
    """The vocoder's source, the one part of it that draws noise."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with _drawing():
            return self.source(*args, **kwargs)


def use_dice(model: Any) -> None:
    """Make the library's model draw from the dice at hand. Only these two calls are exclusive, not a whole step."""
    model.llm.sampling = _DicedSampler(model.llm.sampling)
    model.hift.m_source = _DicedSource(model.hift.m_source)
