"""Which replica a job prefers."""

import pytest

from cosyserve.cluster.router import ranked


@pytest.mark.parametrize(
    ("load", "holder", "ranks"),
    [
        ({"a": 0.0, "b": 0.0}, None, [["a", "b"]]),
        ({"a": 0.2, "b": 0.0}, "a", [["a"], ["a", "b"]]),
        ({"a": 0.5, "b": 0.0}, "a", [["a", "b"]]),
        ({"a": 1.0, "b": 0.9}, "a", [["b"]]),
        ({"a": 0.9, "b": 1.0}, "gone", [["a"]]),
        ({"a": 1.0}, "a", [["a"]]),
    ],
    ids=["nobody has it", "who has it is about as free", "is much busier", "is full", "is gone", "all are full"],
)
def test_the_voice_counts_where_it_costs_nothing(
    load: dict[str, float], holder: str | None, ranks: list[list[str]]
) -> None:
    assert ranked(load, holder) == ranks


def test_few_are_asked_where_all_are_full() -> None:
    (asked,) = ranked({str(replica): 1.0 for replica in range(100)}, "1")
    assert len(asked) == 2
