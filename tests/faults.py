"""Faults in a server's log: tracebacks, which no test passes that did not announce them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

SCRIPTED = (
    "RuntimeError: told to fail",
    "EngineBroken: told to break",
    "ValueError: a bug in the factory",
    "RuntimeError: this engine fails every job",
    "RuntimeError: the self-test fails",
)
"""What `tests.engines` raise because a test asked for it: announced by its script."""
TRACEBACK = "Traceback (most recent call last)"


def unannounced(log: str, announced: Iterable[str]) -> list[str]:
    """The faults in these lines that have none of the announced words in them."""
    return [
        fault for fault in _faults(log.splitlines()) if not any(words in fault for words in (*SCRIPTED, *announced))
    ]


def _faults(lines: list[str]) -> Iterator[str]:
    records = [_record(line) for line in lines]
    for place, record in enumerate(records):
        if "exception" in record:
            yield json.dumps(record, ensure_ascii=False)
        elif TRACEBACK in record["event"]:
            # A worker's last words come line by line, others' between them.
            ours = [other["event"] for other in records[place:] if other.get("worker") == record.get("worker")]
            yield "\n".join(ours)


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    return record if isinstance(record, dict) and isinstance(record.get("event"), str) else {"event": line}
