"""What Prometheus is told: how requests for speech went, and the state of the pool at the moment it asks."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from cosyserve import __version__
from cosyserve.pool.status import PoolState, WorkerState
from cosyserve.speech.intake import IntakeBudget
from cosyserve.wire.helper import Helpers

SECONDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 4.0)
MAX_EVENTS = 32
"""Of those that an engine counts, as many are told."""
MAX_STAGES = 32
"""Engines name their stages; from the 33rd name on they are `other`, so that no engine can fill Prometheus up."""


class Metrics:
    """One registry of its own, so that two applications in a process do not meet."""

    def __init__(self, read_pool: Callable[[], PoolState]) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_PoolCollector(read_pool))
        # Of the front end alone: its workers' memory is mostly on the GPU.
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "cosyserve_speech_requests",
            "Requests for speech that asked the pool for a stream, by how they ended: ok, or the error's code.",
            ["route", "mode", "format", "outcome"],
            registry=registry,
        )
        self.error_answers = Counter(
            "cosyserve_error_answers",
            "Error answers of all routes, by status and code; a stream that breaks after its first byte is none.",
            ["status", "code"],
            registry=registry,
        )
        self.internal_errors = Counter(
            "cosyserve_internal_errors",
            "Faults of the service itself: exceptions that reached the event loop. The log has each of them.",
            registry=registry,
        )
        self.reloads = Counter(
            "cosyserve_reloads", "Reloads by what became of them: taken or refused.", ["outcome"], registry=registry
        )
        self.log_records_dropped = Counter(
            "cosyserve_log_records_dropped",
            "Lines of the log that were lost because whoever reads it is too slow.",
            registry=registry,
        )
        self.queue_wait = Histogram(
            "cosyserve_queue_wait_seconds",
            "Time in line before a worker took the request.",
            ["route"],
            buckets=(0.001, 0.005, 0.01, *SECONDS),
            registry=registry,
        )
        self.first_chunk = Histogram(
            "cosyserve_first_chunk_seconds",
            "First-chunk latency: from the admission of a request to its first audio.",
            ["route", "mode"],
            buckets=SECONDS,
            registry=registry,
        )
        self.total = Histogram(
            "cosyserve_request_seconds",
            "From the admission of a request for speech to its end, the client's reading included.",
            ["route"],
            buckets=(*SECONDS, 120.0, 300.0),
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "cosyserve_real_time_factor",
            "Seconds of work for a second of audio, waiting in line excluded; above 1 a listener hears gaps.",
            ["route", "mode"],
            buckets=FACTORS,
            registry=registry,
        )
        self.underruns = Counter(
            "cosyserve_underruns",
            "Chunks that came later than the audio before them lasts.",
            ["route"],
            registry=registry,
        )
        self.underrun_seconds = Counter(
            "cosyserve_underrun_seconds",
            "The silence that underruns make for a listener who plays from the first chunk on.",
            ["route"],
            registry=registry,
        )
        self.audio_seconds = Counter(
            "cosyserve_audio_seconds",
            "Seconds of audio that went to clients.",
            ["route", "format"],
            registry=registry,
        )
        self.websocket_connections = Gauge(
            "cosyserve_websocket_connections", "WebSocket connections that are open.", registry=registry
        )
        self.pending_bytes = Gauge(
            "cosyserve_pending_bytes", "What clients have handed in and is not done with.", registry=registry
        )
        self.max_pending_bytes = Gauge(
            "cosyserve_max_pending_bytes", "The most that it may be: limits.max_pending_bytes.", registry=registry
        )
        self.loop_lag = Histogram(
            "cosyserve_event_loop_lag_seconds",
            "How late the event loop is with what is due, by the clock; asked ten times a second.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
            registry=registry,
        )
        self._stages = Histogram(
            "cosyserve_stage_seconds",
            "Time of a finished request by stage, as the engine names its stages.",
            ["stage"],
            buckets=(0.001, 0.005, 0.01, *SECONDS),
            registry=registry,
        )
        self._stage_names: set[str] = set()

    def watch_intake(self, budget: IntakeBudget) -> None:
        """Tell of it from now on, as it is when it is asked for."""
        self.pending_bytes.set_function(lambda: budget.held_bytes)
        self.max_pending_bytes.set_function(lambda: budget.limit_bytes)

    def watch_helpers(self, helpers: Helpers) -> None:
        """The same of them."""
        self._registry.register(_HelperCollector(helpers))

    def stages(self, timings: Mapping[str, float]) -> None:
        """The timings of a finished job: seconds by stage."""
        for name, seconds in timings.items():
            if name not in self._stage_names and len(self._stage_names) < MAX_STAGES:
                self._stage_names.add(name)
            self._stages.labels(name if name in self._stage_names else "other").observe(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The body of an answer and its media type, in the format that the Accept header asks for."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _HelperCollector(Collector):
    def __init__(self, helpers: Helpers) -> None:
        self._helpers = helpers

    def collect(self) -> Iterator[Metric]:
        waiting = "Recordings and texts in line for a helper process."
        yield GaugeMetricFamily("cosyserve_helper_jobs_waiting", waiting, value=self._helpers.waiting)
        lost = "Helper processes that died, took too long or took too much; each has cost the request that it was for."
        yield CounterMetricFamily("cosyserve_helpers_lost", lost, value=self._helpers.lost)


class _PoolCollector(Collector):
    """Nothing of it is counted twice: the numbers are the pool's own, read when they are asked for."""

    def __init__(self, read_pool: Callable[[], PoolState]) -> None:
        self._read_pool = read_pool

    def collect(self) -> Iterator[Metric]:
        pool = self._read_pool()
        yield GaugeMetricFamily("cosyserve_running", "Streams in use.", value=pool.running)
        yield GaugeMetricFamily("cosyserve_waiting", "Requests in line.", value=pool.waiting)
        yield GaugeMetricFamily(
            "cosyserve_max_concurrency", "Streams that may be in use at once.", value=pool.max_concurrency
        )
        yield GaugeMetricFamily("cosyserve_buffered_bytes", "Audio held for listeners.", value=pool.buffered_bytes)
        workers = GaugeMetricFamily("cosyserve_workers", "Workers by state.", labels=["state"])
        states = [worker.state for worker in pool.workers]
        for state in WorkerState:
            workers.add_metric([state], states.count(state))
        yield workers
        yield GaugeMetricFamily("cosyserve_generation", "1, and one more with each reload.", value=pool.generation)
        restarts = CounterMetricFamily("cosyserve_worker_restarts", "Processes replaced, by worker.", labels=["worker"])
        for worker in pool.workers:
            restarts.add_metric([str(worker.worker)], worker.restarts)
        yield restarts
        labels = ["worker", "device", "engine", "precision"]
        info = GaugeMetricFamily("cosyserve_worker_info", "Always 1, of workers that are ready.", labels=labels)
        for worker in pool.workers:
            if worker.state == WorkerState.READY:
                told = [worker.details.get(name, "") for name in ("device", "precision")]
                info.add_metric([str(worker.worker), told[0], pool.engine, told[1]], 1)
        yield info
        events = CounterMetricFamily(
            "cosyserve_engine_events", "What a worker's engine has counted, as it names it.", labels=["worker", "event"]
        )
        for worker in pool.workers:
            for event, count in islice(sorted(worker.counters.items()), MAX_EVENTS):
                events.add_metric([str(worker.worker), event], count)
        yield events
        build = GaugeMetricFamily("cosyserve_build_info", "Always 1; the version is the label.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build

    def describe(self) -> list[Metric]:
        """Spares the pool a question at registration, before it is whole."""
        return []
