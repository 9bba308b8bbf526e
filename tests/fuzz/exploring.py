"""How many cases: a few, the same each time, in `make test`; many, and others each time, where it is `full`."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
MANY_TIMEOUT_S = 3600


def examples(few: int, many: int) -> pytest.MarkDecorator:
    """Gives a test `count`."""
    full = pytest.param(many, marks=[pytest.mark.full, pytest.mark.timeout(MANY_TIMEOUT_S)])
    return pytest.mark.parametrize("count", [pytest.param(few, marks=pytest.mark.timeout(300)), full])


def explore(cases: SearchStrategy[T], count: int, act: Callable[[T], object]) -> None:
    """Do it with so many cases. Those of `make test` never change; of many, the smallest that fails is told.

    Of a few it is the first: where a server hangs, each step towards a smaller one would last as long as its client's
    patience.
    """
    few = count < 1000
    phases = [Phase.explicit, Phase.generate, *([] if few else [Phase.shrink])]

    @settings(
        max_examples=count,
        derandomize=few,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(cases)
    def one(case: T) -> None:
        note(f"{case!r:.4000}")
        act(case)

    with warnings.catch_warnings():
        # Of a case that fails Hypothesis makes a whole text too, and its warning of that would hide the failure.
        warnings.filterwarnings("ignore", "Generating overly large repr")
        one()
