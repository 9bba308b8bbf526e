"""The child's life: load the engine, say Ready, run jobs until told to go or until the parent is gone."""

import faulthandler
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import NoReturn

from cosyserve.protocol import LoadFailed, Ready, SetLogLevel, Shutdown, ToWorker
from cosyserve.wire.logs import configure_worker, set_level
from cosyserve.wire.queues import Inbox, Outbox, QueueClosed
from cosyserve.wire.worker_spec import GROUP_SIGNALS, WorkerSpec
from cosyserve_workers.engine import Engine, LoadError, load_engine
from cosyserve_workers.loop import Loop

QUEUED_MESSAGES = 64
TOGETHER = 16
"""Results that are sent as one where the front end is behind."""
FLUSH_S = 2.0
"""How long the last messages may take to be sent, and streams to notice that they are cancelled."""

log = logging.getLogger(__name__)


def main(spec: WorkerSpec, jobs: Connection, results: Connection) -> None:
    """Serve until Shutdown.

    Ends the process at once, whatever it is doing, when the job queue closes: then the parent is gone, and no orphan
    may keep a GPU.
    """
    # The parent decides when workers go.
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)
    faulthandler.enable()
    configure_worker(spec.log_level)
    for end in (jobs, results):
        # A death is seen by the closed pipe, so nothing that the engine starts may hold it open.
        os.set_inheritable(end.fileno(), False)
        os.register_at_fork(after_in_child=end.close)
    # Libraries print too, and the parent relays by the line.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    outbox = Outbox(results, QUEUED_MESSAGES, "results", TOGETHER)
    handlers = [_handle_while_loading]
    Inbox(jobs, lambda message: handlers[-1](message), _parent_gone, "jobs")
    try:
        engine = load_engine(spec.engine)
        engine.warm_up()
    except LoadError as error:
        log.error("%s", error)  # noqa: TRY400 - an operator's mistake, told in one line
        outbox.put(LoadFailed(str(error)))
        _flush(outbox)
        _leave(1)

    def break_off(reason: str) -> NoReturn:
        log.critical("%s", reason)
        _flush(outbox)
        _leave(1)

    loop = Loop(engine, outbox, break_off)
    handlers.append(loop.handle)
    try:
        outbox.put(_ready(engine))
    except QueueClosed:
        _leave(0)
    loop.shut_down.wait()
    loop.close(FLUSH_S)
    engine.close()
    _flush(outbox)
    _leave(0)


def _ready(engine: Engine) -> Ready:
    """Plain values alone: the front end could not unpickle a library's own, a dtype say."""
    details = {str(name): str(value) for name, value in engine.details.items()}
    return Ready(str(engine.model_type), int(engine.sample_rate), int(engine.streams), details)


def _handle_while_loading(message: ToWorker) -> None:
    """No job comes before Ready, and loading cannot be broken off."""
    if isinstance(message, Shutdown):
        os._exit(0)
    if isinstance(message, SetLogLevel):
        set_level(message.level)


def _parent_gone() -> None:
    """End at once, with whatever the engine has started. Not even a flush: another thread may hold a lock for ever."""
    os.killpg(os.getpid(), signal.SIGKILL)


def _flush(outbox: Outbox) -> None:
    outbox.close()
    outbox.join(FLUSH_S)


def _leave(status: int) -> NoReturn:
    """End without waiting for threads: one may be inside a model."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
