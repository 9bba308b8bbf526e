"""What a client hears of the service, whole or not; and many clients at once."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.cluster.nodes import Service
from tests.engines import expected_pcm


@dataclass(frozen=True)
class Heard:
    """One answer. broken: its connection ended before the answer did."""

    status: int
    pcm: bytes
    broken: bool

    def is_whole(self, seed: int, chunks: int) -> bool:
        """Whether it is all that a script says."""
        return self.status == 200 and not self.broken and self.pcm == expected_pcm(seed, chunks)

    def is_cut(self, seed: int, chunks: int) -> bool:
        """Whether it is a beginning of it whose client knows that it is no more than that."""
        return self.status == 200 and self.broken and expected_pcm(seed, chunks).startswith(self.pcm)


def ask(service: Service, text: str, seed: int) -> Heard:
    """Read an answer as far as it goes."""
    heard = bytearray()
    with service.stream(text=text, seed=seed) as response:
        try:
            for piece in response.iter_raw():
                heard += piece
        except httpx.TransportError:
            return Heard(response.status_code, bytes(heard), broken=True)
    return Heard(response.status_code, bytes(heard), broken=False)


@contextmanager
def company(service: Service, texts: list[str]) -> Iterator[list["Future[Heard]"]]:
    """So many clients at once, the first with seed 0, the next with 1; all have heard their last when this is left."""
    with ThreadPoolExecutor(len(texts)) as clients:
        yield [clients.submit(ask, service, text, seed) for seed, text in enumerate(texts)]
