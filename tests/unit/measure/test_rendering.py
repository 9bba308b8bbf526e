"""Markdown, the page and its pictures; what a service tells of itself is no markup of ours."""

import itertools
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from cosyserve.client.measure import compare, layout, markdown, page
from cosyserve.client.measure.counters import Counted
from cosyserve.client.measure.document import Document, Heading, Line, Plot, Points, Table, Text
from cosyserve.client.measure.figures import stage_report
from cosyserve.client.measure.plan import KNOWN, NEW, WARM, Ask, Stage
from cosyserve.client.measure.record import Kill, MemorySample, Report
from cosyserve.client.measure.svg import draw, ticks
from tests.unit.measure.test_figures import run

HOSTILE = '<script src="http://elsewhere.example/x.js">|\n# no heading'
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Reads a page: its tags balance, and what it loads is noted."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(first_s: float = 0.2, **more: object) -> Report:
    stages = [
        stage_report(Stage(name, clients, voice, [Ask("a", 1)] * 2, level=clients > 0), runs, counted, 2.0, 0.1)
        for name, clients, voice in ((WARM, 0, KNOWN), ("1 client, known voice", 1, KNOWN), ("4 clients", 4, NEW))
        for runs in [[run(first_s=first_s), run(first_s=first_s * 2, underruns=clients)]]
        for counted in [Counted({"engine_captures_total": 3.0}, {}, {"stage_seconds": (2.0, 1.0)})]
    ]
    told = {"engine": "demo", "workers": [{"worker": 0, "details": {"precision": HOSTILE}}]}
    kill = Kill(worker=0, in_stream=True, heard_s=1, ready_s=2.5, first_s=0.3)
    fields: dict[str, object] = {
        "version": "1",
        "began_at": "today",
        "command": "cosyserve measure",
        "url": "http://x",
        "started": True,
        "minutes": 8,
        "info": told,
        "stages": stages,
        "kill": kill,
        "said": [f"left out: {HOSTILE}"],
        "memory": [MemorySample(at_s=at, front_end=2**26, workers=2**30) for at in range(3)],
        "peaks": {"front end": 2**26},
        "totals": {"engine_captures_total": 12, "cosyserve_running": 0, "free_bytes": 4},
        **more,
    }
    return Report.model_validate(fields)


def test_a_report_as_markdown_has_all_of_it() -> None:
    text = markdown.render(layout.lay_out(report()))
    assert "| 1 client, known voice | 2 of 2 | 200 ms | 400 ms |" in text
    assert "| engine_captures_total | 12 | warm 3; 1 client, known voice 3; 4 clients 3 |" in text
    assert "| stage_seconds | 6 | 0.5000 |" in text
    assert "| free_bytes | 4 |  |" in text
    assert "cosyserve_running" not in text
    assert "coordinated omission" in text
    assert "after the kill | 2.50 s |" in text
    assert "<script" not in text
    assert not re.search(r"^# no heading", text, re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count(" | ") for line in table.splitlines() if "details" not in line}) == 1, table


def test_the_page_is_whole_in_itself() -> None:
    text = page.render(layout.lay_out(report()))
    read = Reader(text)
    assert read.tags.count("svg") == 4
    assert not read.loads
    assert "script" not in read.tags
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text


def test_two_reports_side_by_side() -> None:
    a, b = report(0.2), report(0.1, version="2", kill=None)
    text = markdown.render(compare.side_by_side(a, b))
    assert "| 1 client, known voice | 2 | 2 | 200 ms | 100 ms | 0.50 | 400 ms | 200 ms | 0.50 |" in text
    assert "| cosyserve | 1 | 2 |" in text
    Reader(page.render(compare.side_by_side(a, b)))


def test_a_report_without_anything() -> None:
    empty = report(stages=[], kill=None, memory=[], peaks={}, totals={}, info={}, said=[], started=False)
    assert "Nothing." in markdown.render(layout.lay_out(empty))
    assert "svg" not in Reader(page.render(layout.lay_out(empty))).tags
    markdown.render(compare.side_by_side(empty, report()))


@pytest.mark.parametrize("top", [0, 1e-4, 0.07, 0.999, 1, 3, 17, 250, 99_999])
def test_ticks_are_round_and_reach_the_top(top: float) -> None:
    found = ticks(top)
    assert found[0] == 0
    assert found[-1] >= top * (1 - 1e-9)
    assert 2 <= len(found) <= 8
    assert len({round(b - a, 9) for a, b in itertools.pairwise(found)}) == 1


@pytest.mark.parametrize("dots", [False, True])
def test_a_plot_keeps_its_points_in_the_picture(dots: bool) -> None:
    points = [(0.0, 0.0), (1.0, None), (2.0, 5.0), (100.0, 3.0)]
    text = draw(Plot("a & b", "x < y", [Line('"curve"', points)], dots=dots))
    drawn = ET.fromstring(text)
    assert drawn.tag == "svg"
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter("circle")]
    # One is the legend's.
    assert len(circles) == 4
    assert all(0 <= x <= 560 and 0 <= y <= 300 for x, y in circles)


def test_a_plot_without_points_is_none() -> None:
    assert not draw(Plot("nothing", "x", [Line("none", [(0, None)])], ["1"]))


def test_blocks() -> None:
    document = Document("T", [Heading("H"), Text("one\ntwo"), Points([], "none"), Table(("a", "b"), [("c|d", "1")])])
    assert markdown.render(document) == (
        "# T\n\n## H\n\none two\n\n- none\n\n| a | b |\n| --- | ---: |\n| c&#124;d | 1 |\n"
    )
