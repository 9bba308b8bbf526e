"""A request as others see it: its place in a trace, and the spans that are made of it where somebody wants them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from starlette.datastructures import Headers

from cosyserve.protocol import Trace

_VERSION = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
PARENT_CHARS = 55
"""Of a `traceparent` of version 00; later versions may go on behind a dash."""
MAX_STATE_CHARS = 512

Facts = Mapping[str, str | int | float | bool | None]
"""Of a span, by their names; None is left out."""


class Span(Protocol):
    """Something that takes its time. trace: what is passed on to those who do a part of it."""

    trace: Trace | None

    def child(self, name: str) -> "Span":
        """A part of it begins."""

    def past(self, name: str, began_at: float, ended_at: float) -> None:
        """A part of it is over. The times are of time.monotonic()."""

    def end(self, facts: Facts, error: str | None = None, name: str | None = None) -> None:
        """It is over. error: what went wrong, if anything. name: what it turned out to be."""


class Unseen:
    """Nobody wants spans: what was sent is passed on as it is."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = trace

    def child(self, _: str) -> "Unseen":
        """The same."""
        return self

    def past(self, name: str, began_at: float, ended_at: float) -> None:
        """Nothing."""

    def end(self, facts: Facts, error: str | None = None, name: str | None = None) -> None:
        """Nothing."""


class Spans(Protocol):
    """Makes them."""

    def begin(self, sent: Trace | None) -> Span:
        """A request has come. sent: the trace that it belongs to already."""

    def close(self) -> None:
        """Send what is left, within a few seconds. Blocks."""


class NoSpans:
    """Makes none."""

    def begin(self, sent: Trace | None) -> Span:
        """One that nobody sees."""
        return Unseen(sent)

    def close(self) -> None:
        """Nothing is left."""


_current: ContextVar[Span] = ContextVar("span", default=Unseen())  # noqa: B039 - nothing of it ever changes


def current() -> Span:
    """That of the request which this task is about."""
    return _current.get()


@contextmanager
def being(span: Span) -> Iterator[None]:
    """Until the end of the block it is the current one."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """The block is a part of the current one."""
    span = current().child(name)
    error: str | None = "cancelled"
    try:
        yield
        error = None
    except Exception as failure:
        error = getattr(failure, "code", type(failure).__name__)
        raise
    finally:
        span.end({}, error)


def sent_trace(headers: Headers) -> Trace | None:
    """What W3C's Trace Context makes of a request's headers: None where they say nothing, or nothing valid."""
    # Two of them say nothing: which one would be meant?
    parents = headers.getlist("traceparent")
    if len(parents) != 1 or not (parent := _valid(parents[0].strip())):
        return None
    state = ",".join(headers.getlist("tracestate"))
    return Trace(parent, state if len(state) <= MAX_STATE_CHARS and state.isprintable() else "")


def _valid(parent: str) -> str:
    """As version 00 has it; "" where it is none."""
    known, rest = parent[:PARENT_CHARS], parent[PARENT_CHARS:]
    if not _VERSION.fullmatch(known) or (rest and (known.startswith("00") or not rest.startswith("-"))):
        return ""
    return f"00{known[2:]}"
