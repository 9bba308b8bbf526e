"""What /metrics tells of the server, for tests."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.serving import Server


def read(server: Server, name: str, headers: Mapping[str, str] | None = None, /, **labels: str) -> float:
    """The sum of a metric's samples with these labels; a histogram's by its suffixes."""
    return _sum(_samples(server, headers), name, labels)


class Since:
    """What a server's metrics have risen by since this was made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = _samples(server)

    def __call__(self, name: str, **labels: str) -> float:
        """As `read`."""
        return _sum(_samples(self._server), name, labels) - _sum(self._before, name, labels)


def pending_bytes(server: Server, headers: Mapping[str, str] | None = None) -> int:
    """What clients have handed in and is not done with."""
    return int(read(server, "cosyserve_pending_bytes", headers))


def _samples(server: Server, headers: Mapping[str, str] | None = None) -> list[Sample]:
    families = text_string_to_metric_families(server.get("/metrics", headers).text)
    return [sample for family in families for sample in family.samples]


def _sum(samples: list[Sample], name: str, labels: Mapping[str, str]) -> float:
    named = [sample for sample in samples if sample.name == name]
    return sum(sample.value for sample in named if labels.items() <= sample.labels.items())
