"""What /metrics tells of the server, for tests."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Server


def read(server: Server, name: str, headers: Mapping[str, str] | None = None, /, **labels: str) -> float:
    """The sum of a metric's samples with these labels; a histogram's by its suffixes."""
    families = text_string_to_metric_families(server.get("/metrics", headers).text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def pending_bytes(server: Server, headers: Mapping[str, str] | None = None) -> int:
    """What clients have handed in and is not done with."""
    return int(read(server, "cosyserve_pending_bytes", headers))
