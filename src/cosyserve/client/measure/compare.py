"""Two reports side by side, stage by stage, with what the second is to the first."""

from collections.abc import Iterable

from cosyserve.client.measure.document import Block, Document, Heading, Points, Table, Text
from cosyserve.client.measure.layout import OF_A_MOMENT, engine, headline
from cosyserve.client.measure.plots import clients_plots
from cosyserve.client.measure.record import Report, StageReport
from cosyserve.client.measure.words import NONE, flat, percent, ratio, seconds, size

PASSING = frozenset({"load before the first request"})


def side_by_side(a: Report, b: Report) -> Document:
    """B / A below 1 is better of times, above 1 of throughput."""
    blocks: list[Block] = [
        Text(f"A: {engine(a)}, {a.began_at}. B: {engine(b)}, {b.began_at}. B / A: of times, below 1 B is faster."),
        Table(("in short", "A", "B"), _headlines(a, b)),
        *clients_plots([("A", a), ("B", b)]),
        Heading("Stage by stage"),
        _stages(a, b),
        Heading("What differs"),
        _differences(a, b),
        Heading("Memory, at most"),
        Table(
            ("", "A", "B"),
            [[name, size(a.peaks.get(name)), size(b.peaks.get(name))] for name in _all(a.peaks, b.peaks)],
        ),
        Heading("What was left out or shortened"),
        Points([f"A: {line}" for line in a.said] + [f"B: {line}" for line in b.said], "Nothing."),
    ]
    failures = [f"A: {line}" for line in a.failures] + [f"B: {line}" for line in b.failures]
    return Document("cosyserve measure: A and B", [*blocks, Heading("What went wrong"), Points(failures, "Nothing.")])


def _headlines(a: Report, b: Report) -> list[list[str]]:
    first, second = dict(headline(a)), dict(headline(b))
    return [[name, first.get(name, NONE), second.get(name, NONE)] for name in _all(first, second)]


def _stages(a: Report, b: Report) -> Table:
    head = ["stage", "requests A", "B", "first audio p50 A", "B", "B / A", "p95 A", "B", "B / A"]
    head += ["audio s per s A", "B", "B / A", "runs without underrun A", "B"]
    first, second = ({stage.name: stage for stage in report.stages} for report in (a, b))
    return Table(head, [[name, *_pair(first.get(name), second.get(name))] for name in _all(first, second)])


def _pair(a: StageReport | None, b: StageReport | None) -> list[str]:
    cells = [str(stage.whole) if stage else NONE for stage in (a, b)]
    for figure in ("p50", "p95"):
        times = [getattr(stage.first, figure) if stage and stage.first else None for stage in (a, b)]
        cells += [*map(seconds, times), ratio(*times)]
    rates = [stage.rate if stage else None for stage in (a, b)]
    cells += [NONE if rate is None else f"{rate:.2f}" for rate in rates]
    return [*cells, ratio(*rates), *(percent(stage.without_underrun if stage else None) for stage in (a, b))]


def _differences(a: Report, b: Report) -> Table | Points:
    first, second = _conditions(a), _conditions(b)
    rows = [[name, first.get(name, NONE), second.get(name, NONE)] for name in _all(first, second)]
    different = [row for row in rows if row[1] != row[2]]
    return Table(("", "A", "B"), different, figures=False) if different else Points([], "Nothing.")


def _conditions(report: Report) -> dict[str, str]:
    """What figures hang on: the machine, the settings that show, and what the first worker runs with."""
    machine = {name: told for name, told in report.machine.items() if name not in PASSING}
    service = flat({name: value for name, value in report.info.items() if name not in OF_A_MOMENT})
    worker = flat(next(iter(report.workers), {}).get("details") or {})
    return {
        "cosyserve": report.version,
        **machine,
        **service,
        "workers": str(len(report.workers)),
        **{f"worker: {name}": told for name, told in worker.items()},
    }


def _all(a: Iterable[str], b: Iterable[str]) -> list[str]:
    """Names of both, in order."""
    return list(dict.fromkeys([*a, *b]))
