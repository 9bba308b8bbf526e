"""The service's log: one stream on stderr, its lines and its workers', as text or as one JSON object a line."""

import contextlib
import logging
import logging.handlers
import queue
import sys

import structlog
from structlog.typing import Processor

from cosyserve.wire.logs import formatter, install

QUEUED_RECORDS = 10_000


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
    writer.setFormatter(formatter(renderers))
    records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED_RECORDS)
    listener = logging.handlers.QueueListener(records, writer)
    install(_Queued(records), level)
    listener.start()
    return listener
