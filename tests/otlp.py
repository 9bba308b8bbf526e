"""A collector of spans for tests: what is posted to it by OTLP over HTTP, read by OpenTelemetry's own messages."""

import gzip
import http.server
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


@dataclass(frozen=True)
class Seen:
    """A span. The ids are hexadecimal, the times nanoseconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    began_ns: int
    ended_ns: int
    facts: dict[str, object]
    failed: bool
    state: str
    service: str


class Collector:
    """Listens while entered."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        collected = self._bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collected.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def env(self) -> dict[str, str]:
        """What makes a service send its spans here, soon."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", "NO_PROXY": "127.0.0.1"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self, trace: str | None = None) -> list[Seen]:
        """Those that have come, or those of one trace, as they ended."""
        found = [span for body in list(self._bodies) for span in _read(body)]
        return sorted((span for span in found if trace in {None, span.trace}), key=lambda span: span.ended_ns)


def _read(body: bytes) -> list[Seen]:
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = str(_facts(resource.resource.attributes)["service.name"])
        for scope in resource.scope_spans:
            found += [
                Seen(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _facts(span.attributes),
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    span.trace_state,
                    service,
                )
                for span in scope.spans
            ]
    return found


def _facts(attributes: "list[KeyValue]") -> dict[str, object]:
    return {fact.key: getattr(fact.value, str(fact.value.WhichOneof("value"))) for fact in attributes}
