"""The service's log: one stream on stderr, its lines and its workers', as text or as one JSON object a line."""

import contextlib
import logging
import logging.handlers
import queue
import sys
from collections.abc import Callable

import structlog
from structlog.typing import Processor

from cosyserve.wire.logs import formatter, install

QUEUED_RECORDS = 10_000
LAST_WORDS_S = 2.0
"""How long the reader of the log may take over what is left at the end."""


class _Queued(logging.handlers.QueueHandler):
    """Hands records to the thread that writes: a blocked terminal or journal must not stop the audio.

    on_drop: called, on any thread, for a record that found no place.
    """

    def __init__(self, records: "queue.Queue[logging.LogRecord]", on_drop: Callable[[], None]) -> None:
        super().__init__(records)
        self._on_drop = on_drop

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        # Losing a line beats losing a stream.
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._on_drop()


class Records(logging.handlers.QueueListener):
    """The thread that writes."""

    on_drop: Callable[[], None] = staticmethod(lambda: None)
    """Called, on any thread, for a record that found no place."""

    def finish(self) -> bool:
        """Write what waits. Returns whether that is done: whoever reads the log may have stopped."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        with contextlib.suppress(queue.Full):
            self.enqueue_sentinel()
        thread.join(LAST_WORDS_S)
        return not thread.is_alive()


def configure(level: str, style: str) -> Records:
    """Set the parent's log up. style: `text`, `json` or `auto`. Let what is returned `finish` at the end."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    renderers: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(formatter(renderers))
    records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED_RECORDS)
    listener = Records(records, writer)
    install(_Queued(records, lambda: listener.on_drop()), level)
    listener.start()
    return listener
