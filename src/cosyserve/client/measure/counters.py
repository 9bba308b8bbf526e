"""What the service counts itself: its /metrics, whatever is in there."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

FIRST_CHUNK = "cosyserve_first_chunk_seconds"
REQUESTS = "cosyserve_speech_requests_total"
AUDIO = "cosyserve_audio_seconds_total"
UNDERRUNS = "cosyserve_underruns_total"


@dataclass(frozen=True, slots=True)
class Counted:
    """By name and labels. histograms: (count, sum)."""

    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def since(self, before: "Counted") -> "Counted":
        """What has grown."""
        counters = {name: value - before.counters.get(name, 0.0) for name, value in self.counters.items()}
        histograms = {
            name: (count - before.histograms.get(name, (0.0, 0.0))[0], total - before.histograms.get(name, (0, 0.0))[1])
            for name, (count, total) in self.histograms.items()
        }
        return Counted(
            {name: grown for name, grown in counters.items() if grown},
            self.gauges,
            {name: grown for name, grown in histograms.items() if grown[0]},
        )


def parse(exposition: str) -> Counted:
    """Of Prometheus's text format. Raises ValueError where it is none."""
    counters: dict[str, float] = {}
    gauges: dict[str, float] = {}
    parts: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            name = _named(sample.name, sample.labels)
            # Where no client asks for OpenMetrics, the time of a counter's making is a gauge of its own.
            if sample.name.endswith("_created"):
                continue
            if family.type == "counter":
                counters[name] = sample.value
            elif family.type == "gauge":
                gauges[name] = sample.value
            elif family.type == "histogram" and not sample.name.endswith("_bucket"):
                suffix = sample.name.removeprefix(family.name)
                parts[_named(family.name, sample.labels)][suffix] = sample.value
    histograms = {name: (part.get("_count", 0.0), part.get("_sum", 0.0)) for name, part in parts.items()}
    return Counted(counters, gauges, histograms)


def total(values: Mapping[str, float], name: str) -> float:
    """Over all labels."""
    return sum(value for key, value in values.items() if key.partition("{")[0] == name)


def _named(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{told}}}" if told else name
