"""Faults of our own: exceptions that reach the event loop. Each is counted, and told once, as a record of the log."""

import asyncio
from typing import Any

import structlog
from prometheus_client import Counter

log = structlog.get_logger(__name__)


def watch_loop(loop: asyncio.AbstractEventLoop, faults: Counter) -> None:
    """From now on, whatever a callback or a forgotten task raises on this loop is counted and logged."""

    def on_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        faults.inc()
        # What asyncio adds (the handle, the task) has no bound and may hold what users said.
        log.error("internal error", where=context["message"], exc_info=context.get("exception"))

    loop.set_exception_handler(on_fault)
