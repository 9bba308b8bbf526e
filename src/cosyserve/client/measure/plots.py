"""The pictures of a report, and of two side by side."""

from collections.abc import Sequence

from cosyserve.client.measure.document import Line, Plot
from cosyserve.client.measure.plan import KNOWN, LENGTHS, NEW
from cosyserve.client.measure.record import Report, StageReport

FIGURES = {
    "first": "first audio, seconds",
    "rate": "audio seconds per second",
    "fluent": "runs without an underrun, per cent",
}


def clients_plots(reports: Sequence[tuple[str, Report]]) -> list[Plot]:
    """By number of clients; of several reports, each with its name."""
    shown = [(name, levels(report, voice), voice) for name, report in reports for voice in (KNOWN, NEW)]
    names = [str(count) for count in sorted({stage.clients for _, stages, _ in shown for stage in stages})]

    def line(name: str, stages: Sequence[StageReport], figure: str) -> Line:
        return Line(name, [(names.index(str(stage.clients)), _figure(stage, figure)) for stage in stages])

    plots = []
    for figure, title in FIGURES.items():
        # Of several reports, more curves would hide one another.
        quantiles = ("",) if figure != "first" else ("p50", "p95")[: 2 if len(reports) == 1 else 1]
        lines = [
            line(" ".join(filter(None, [name, voice, quantile])), stages, quantile or figure)
            for name, stages, voice in shown
            for quantile in quantiles
        ]
        plots.append(Plot(title, "clients", lines, names))
    return plots


def _figure(stage: StageReport, figure: str) -> float | None:
    if figure == "rate":
        return stage.rate
    if figure == "fluent":
        return None if stage.without_underrun is None else 100 * stage.without_underrun
    return None if stage.first is None else float(getattr(stage.first, figure))


def levels(report: Report, voice: str) -> list[StageReport]:
    """The stages by number of clients with such voices."""
    return [stage for stage in report.stages if stage.level and stage.voice == voice]


def report_plots(report: Report) -> list[Plot]:
    """All that it has."""
    lengths = next((stage for stage in report.stages if stage.name == LENGTHS), None)
    dots = [Line("a request", [(run.text_chars, run.first_s) for run in lengths.runs])] if lengths else []
    samples = report.memory
    memory = [
        Line(name, [(sample.at_s, None if held is None else held / 2**30) for sample, held in column])
        for name, column in (
            ("front end", [(sample, sample.front_end) for sample in samples]),
            ("workers", [(sample, sample.workers) for sample in samples]),
            ("GPUs", [(sample, sample.gpus) for sample in samples]),
        )
        if any(held for _, held in column)
    ]
    return [
        *clients_plots([("", report)]),
        Plot("random lengths: first audio, seconds", "characters of the text", dots, dots=True),
        Plot("memory, GiB", "seconds", memory),
    ]
