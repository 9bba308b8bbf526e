"""What unit tests share that costs something to make."""

from collections.abc import Iterator

import pytest

from cosyserve.voices.prompts import JOBS, Decoder
from cosyserve.wire.helper import Helpers


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    """With a helper's process, as in the service."""
    helpers = Helpers(JOBS)
    yield Decoder(helpers)
    helpers.close()
