"""The log, in processes of its own: what its lines look like, and what becomes of what workers print."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.wire.logs import relay


def stderr_of(code: str, style: str = "json", level: str = "info") -> str:
    """What a process says that sets the log up, runs this, and ends."""
    whole = (
        "import logging, structlog\nfrom cosyserve.watch.logs import configure\nfrom cosyserve.wire.logs import relay\n"
        f"records = configure({level!r}, {style!r})\nlog = structlog.get_logger('test')\n{code}\nrecords.finish()"
    )
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    return done.stderr


def lines_of(code: str, level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr_of(code, level=level).splitlines()]


class TestLines:
    def test_json(self) -> None:
        (line,) = lines_of("log.info('something happened', count=3, words='你好')")
        assert line.pop("timestamp").endswith("Z")
        assert line == {"event": "something happened", "level": "info", "logger": "test", "count": 3, "words": "你好"}

    def test_text(self) -> None:
        (line,) = stderr_of("log.info('something happened', count=3)", style="text").splitlines()
        assert "something happened" in line
        assert "count=3" in line
        assert "\x1b" not in line, "no colours where there is no terminal"

    def test_auto_is_json_where_there_is_no_terminal(self) -> None:
        (line,) = stderr_of("log.info('hello')", style="auto").splitlines()
        assert json.loads(line)["event"] == "hello"

    def test_level(self) -> None:
        code = "log.debug('a'); log.info('b'); log.warning('c'); logging.getLogger('x').info('d')"
        assert [line["event"] for line in lines_of(code, level="warning")] == ["c"]
        assert [line["event"] for line in lines_of(code, level="debug")] == ["a", "b", "c", "d"]

    def test_libraries_share_it(self) -> None:
        (line,) = lines_of("logging.getLogger('library').warning('%d of %d', 1, 2, extra={'size': 3})")
        assert (line["event"], line["logger"], line["level"], line["size"]) == ("1 of 2", "library", "warning", 3)

    @pytest.mark.parametrize("logger", ["log", "logging.getLogger('library')"])
    def test_a_trace_is_one_line(self, logger: str) -> None:
        (line,) = lines_of(f"try:\n    1 / 0\nexcept ZeroDivisionError:\n    {logger}.exception('it failed')")
        assert line["event"] == "it failed"
        assert "ZeroDivisionError: division by zero" in line["exception"]

    def test_a_trace_as_text(self) -> None:
        text = stderr_of("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('it failed')", style="text")
        assert "ZeroDivisionError: division by zero" in text

    def test_what_a_request_is_bound_to_is_in_its_lines(self) -> None:
        code = "with structlog.contextvars.bound_contextvars(request_id='abc'):\n    log.info('in')\nlog.info('out')"
        inside, outside = lines_of(code)
        assert inside["request_id"] == "abc"
        assert "request_id" not in outside

    def test_the_last_line_is_written_before_the_end(self) -> None:
        assert len(lines_of("for number in range(2000): log.info('line', number=number)")) == 2000


class TestRelay:
    def test_a_workers_log_line_keeps_its_name_level_and_fields(self) -> None:
        printed = {
            "event": "100%s done",
            "logger": "engine",
            "level": "error",
            "timestamp": "then",
            "job": 7,
            "name": 1,
        }
        (line,) = lines_of(f"relay(3, {json.dumps(printed).encode()!r})")
        assert line.pop("timestamp") != "then"
        assert line == {
            "event": "100%s done", "logger": "engine", "level": "error", "job": 7, "name_": 1, "worker": 3
        }  # fmt: skip

    def test_anything_else_is_relayed_as_it_is(self) -> None:
        (line,) = lines_of(r"relay(3, b'Segmentation fault %s \xff\n')")
        assert line["event"] == "Segmentation fault %s \ufffd"
        assert (line["logger"], line["level"], line["worker"]) == ("cosyserve.worker.output", "warning", 3)

    def test_empty_lines_are_not(self) -> None:
        assert lines_of(r"relay(3, b'\n'); relay(3, b'  \r\n')") == []

    def test_the_whole_way_from_a_worker(self) -> None:
        code = (
            "import logging\nfrom cosyserve.wire.logs import configure_worker\nconfigure_worker('info')\n"
            "logging.getLogger('engine').info('loaded %d', 5, extra={'job': 7})\nlogging.getLogger('x').debug('no')"
        )
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        (line,) = lines_of(f"relay(0, {printed!r})")
        assert (line["event"], line["logger"], line["job"], line["worker"]) == ("loaded 5", "engine", 7, 0)

    @given(st.one_of(st.binary(), st.dictionaries(st.text(), st.none() | st.integers() | st.text()).map(
        lambda fields: json.dumps({"event": "e", "logger": "l", **fields}).encode())))  # fmt: skip
    def test_nothing_that_a_worker_prints_breaks_it(self, line: bytes) -> None:
        relay(0, line)
