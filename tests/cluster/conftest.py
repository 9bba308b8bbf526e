"""Nodes are simulated once for all tests here: it takes them half a minute and a gigabyte."""

from collections.abc import Iterator

import pytest

from tests.cluster.nodes import Nodes


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three, beside the head."""
    with Nodes(tmp_path_factory.mktemp("nodes")) as nodes:
        yield nodes
