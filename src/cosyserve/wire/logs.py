"""A worker's log on its way to the service's: JSON lines on its stdout, a pipe of its own, which the parent relays.

Whatever else a worker process prints (an interpreter's last traceback, a C library's complaint) is relayed as it is.
"""

import json
import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure_worker(level: str) -> None:
    """Set a worker's log up: JSON lines on stdout."""
    writer = logging.StreamHandler(sys.stdout)
    writer.setFormatter(formatter([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]))
    install(writer, level)


def relay(worker: int, line: bytes) -> None:
    """Log a line that a worker printed."""
    text = line.decode("utf-8", "replace").rstrip()
    if not text:
        return
    event = _parse(text)
    if event is None:
        logging.getLogger("cosyserve.worker.output").warning(text, extra={"worker": worker})
        return
    name, level = event.pop("logger"), LEVELS.get(event.pop("level"), logging.ERROR)
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


def formatter(renderers: list[Processor]) -> logging.Formatter:
    """What makes a line of a record, ours or a library's. renderers: the last steps."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )


def set_level(level: str) -> None:
    """Leave out of this process's log what is below it."""
    logging.getLogger().setLevel(LEVELS[level])


def install(handler: logging.Handler, level: str) -> None:
    """Send every record of this process to one handler."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
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
