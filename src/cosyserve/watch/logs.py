"""The log: one stream on stderr, the parent's lines and the workers', as text or as one JSON object a line.

Workers print JSON lines to their stdout, a pipe of their own; the parent relays them. Whatever else a worker process
prints (an interpreter's last traceback, a C library's complaint) is relayed as it is.
"""

import contextlib
import json
import logging
import logging.handlers
import queue
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUEUED_RECORDS = 10_000
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


class _Queued(logging.handlers.QueueHandler):
    """Hands records to the thread that writes: a blocked terminal or journal must not stop the audio."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        # Losing a line beats losing a stream.
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


def configure(level: str, style: str) -> logging.handlers.QueueListener:
    """Set the parent's log up. style: `text`, `json` or `auto`. Stop the listener at the end: it writes what waits."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    renderers: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(_formatter(renderers))
    records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED_RECORDS)
    listener = logging.handlers.QueueListener(records, writer)
    _install(_Queued(records), level)
    listener.start()
    return listener


def configure_worker(level: str) -> None:
    """Set a worker's log up: JSON lines on stdout."""
    writer = logging.StreamHandler(sys.stdout)
    writer.setFormatter(_formatter([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]))
    _install(writer, level)


def relay(worker: int, line: bytes) -> None:
    """Log a line that a worker printed."""
    text = line.decode("utf-8", "replace").rstrip()
    if not text:
        return
    event = _parse(text)
    if event is None:
        logging.getLogger("cosyserve.worker.output").warning(text, extra={"worker": worker})
        return
    name, level = event.pop("logger"), _LEVELS.get(event.pop("level"), logging.ERROR)
    event.pop("timestamp", None)
    # The message is data from another process: no %-formatting of it.
    logging.getLogger(name).log(level, "%s", event.pop("event"), extra={**_unreserved(event), "worker": worker})


def _parse(text: str) -> dict[str, Any] | None:
    if not text.startswith('{"'):
        return None
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    ours = isinstance(event, dict) and all(isinstance(event.get(key), str) for key in ("event", "logger", "level"))
    return event if ours else None


def _unreserved(event: dict[str, Any]) -> dict[str, Any]:
    """Names that logging keeps for itself get an underscore."""
    reserved = {*logging.makeLogRecord({}).__dict__, "message", "asctime"}
    return {f"{key}_" if key in reserved else key: value for key, value in event.items()}


def _hold_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The exception is this thread's, and another one writes the line."""
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    return event


def _formatter(renderers: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            _hold_exception,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
