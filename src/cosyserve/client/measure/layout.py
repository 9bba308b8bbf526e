"""A report, laid out: what an operator wants to know, in the order in which it is asked."""

from collections.abc import Sequence

from cosyserve.client.measure.counters import AUDIO, FIRST_CHUNK, UNDERRUNS, total
from cosyserve.client.measure.document import Block, Document, Heading, Points, Table, Text
from cosyserve.client.measure.notes import NOTES
from cosyserve.client.measure.plan import KNOWN, WARM
from cosyserve.client.measure.plots import levels, report_plots
from cosyserve.client.measure.record import Kill, Report, StageReport
from cosyserve.client.measure.words import NONE, flat, number, percent, seconds, size, tally

OF_A_STATE = frozenset({"worker", "state", "pid", "streams", "running", "restarts", "reason"})
"""What /model_info tells of a worker's moment; the rest is what it runs on and with."""
OF_A_MOMENT = frozenset({"status", "running", "waiting", "buffered_bytes", "workers", "usage", "endpoint"})
"""And of the service's; its workers have a table of their own."""
BUSY = 0.8
"""The share of a core from which on the measuring client itself may hold the figures down."""


def lay_out(report: Report) -> Document:
    """All of it."""
    blocks: list[Block] = [Text(_where(report)), *_short(report), *report_plots(report)]
    parts: dict[str, Sequence[Block]] = {
        "What went wrong": [Points(report.failures)] if report.failures else [],
        "What was left out or shortened": [Points(report.said, "Nothing.")],
        "First audio, underruns, throughput": [_stages(report)],
        "A worker killed in the middle of a stream": _killed(report.kill),
        "As the service saw it": _own_view(report),
        "What is on": _on(report),
        "Machine": [Table(("", ""), list(report.machine.items()), figures=False)],
        "Memory": _memory(report),
        "Counters": _counters(report),
        "The service's own times": _own_times(report),
        "How to read this": [Points(NOTES)],
    }
    for title, part in parts.items():
        if part:
            blocks += [Heading(title), *part]
    return Document(f"cosyserve measure: {engine(report)}", blocks)


def engine(report: Report) -> str:
    """By its name, and where it runs."""
    devices = sorted({str(worker["device"]) for worker in report.workers if worker.get("device")})
    details = sorted({flat(worker).get("details.device", "") for worker in report.workers} - {""})
    name, where = str(report.info.get("engine", "unknown")), ", ".join(details or devices)
    return f"{name} on {where}" if where else name


def headline(report: Report) -> list[tuple[str, str]]:
    """What most readers stop at."""
    stages = {stage.name: stage for stage in report.stages}
    warm = stages.get(WARM)
    known = levels(report, KNOWN)
    fluent = [stage.clients for stage in known if stage.without_underrun == 1]
    rows = [("first audio, one client, p50 / p95", _two(warm))]
    rows += [(f"first audio, {known[-1].clients} clients, p50 / p95", _two(known[-1]))] if known else []
    if best := max(known, key=lambda stage: stage.rate, default=None):
        rows.append(("most audio seconds per second", f"{best.rate:.2f} ({best.clients} clients)"))
    rows.append(("most clients of whom none ran dry", str(max(fluent, default=0))))
    if report.load_s is not None:
        rows.append(("from the start until ready", seconds(report.load_s)))
    if report.kill:
        rows.append(("from a worker's kill until its successor is ready", seconds(report.kill.ready_s)))
    return rows


def _two(stage: StageReport | None) -> str:
    return f"{seconds(stage.first.p50)} / {seconds(stage.first.p95)}" if stage and stage.first else NONE


def _where(report: Report) -> str:
    how = "started for it, as it is configured" if report.started else f"at {report.url}, not started for it"
    ended = " It was interrupted: what follows is what there was until then." if report.interrupted else ""
    began = f"{report.began_at}, {report.wall_s / 60:.1f} minutes in all, cosyserve {report.version}"
    return f"The service was {how}. `{report.command}` ({began}).{ended}"


def _short(report: Report) -> list[Block]:
    notes = [
        f"{stage.name}: the measuring client took {stage.client_busy:.0%} of a core: its figures may be the client's"
        for stage in report.stages
        if stage.client_busy > BUSY
    ]
    return [Table(("in short", ""), headline(report)), Points(notes)]


def _stages(report: Report) -> Table:
    head = ["stage", "whole of planned", "first audio p50", "p95", "worst", "underruns", "silence"]
    head += ["runs without", "audio s per s", "otherwise"]
    return Table(head, [_stage(stage) for stage in report.stages])


def _stage(stage: StageReport) -> list[str]:
    first = stage.first
    times = [seconds(one) for one in ((first.p50, first.p95, first.worst) if first else (None,) * 3)]
    otherwise = [tally(stage.refused), tally(stage.failed), tally({"cut": stage.cut} if stage.cut else {})]
    return [
        stage.name,
        f"{stage.whole} of {stage.planned}",
        *times,
        str(stage.underruns),
        seconds(stage.silence_s),
        percent(stage.without_underrun),
        f"{stage.rate:.2f}",
        ", ".join(filter(None, otherwise)),
    ]


def _killed(kill: Kill | None) -> list[Block]:
    if kill is None:
        return []
    stream = "broke off" if kill.in_stream else "had all been made before the worker died, and was heard to its end"
    rows = [
        (
            "the worker's successor ready, after the kill",
            seconds(kill.ready_s) if kill.ready_s else f"never: {kill.note}",
        ),
        ("first audio of the first request after that", seconds(kill.first_s)),
        ("the stream that was running", f"{stream}, {kill.heard_s:.1f} s of it heard"),
    ]
    return [Table((f"worker {kill.worker}, SIGKILL", ""), rows)]


def _own_view(report: Report) -> list[Block]:
    rows = []
    for stage in report.stages:
        own = [time for name, time in stage.times.items() if name.partition("{")[0] == FIRST_CHUNK]
        count, spent = sum(time.count for time in own), sum(time.sum for time in own)
        heard = stage.first.mean if stage.first else None
        audio = f"{total(stage.counters, AUDIO):.2f} / {stage.audio_s:.2f}"
        dry = f"{total(stage.counters, UNDERRUNS):.0f} / {stage.underruns}"
        rows.append([stage.name, f"{seconds(spent / count if count else None)} / {seconds(heard)}", audio, dry])
    head = ("stage: service / client", "first audio, mean", "audio seconds", "underruns")
    return [Table(head, rows)] if rows else []


def _on(report: Report) -> list[Block]:
    """Whatever /model_info tells, of the service and of each worker."""
    told = flat({name: value for name, value in report.info.items() if name not in OF_A_MOMENT})
    blocks: list[Block] = [Table(("service", ""), [row for row in told.items() if row[1]], figures=False)]
    rows: dict[str, list[str]] = {}
    for index, worker in enumerate(report.workers):
        for name, value in flat({key: one for key, one in worker.items() if key not in OF_A_STATE}).items():
            rows.setdefault(name, [""] * len(report.workers))[index] = value
    head = ["", *(f"worker {index}" for index in range(len(report.workers)))]
    return [*blocks, Table(head, [[name, *values] for name, values in rows.items() if any(values)], figures=False)]


def _memory(report: Report) -> list[Block]:
    if not report.peaks:
        return [Text("Not seen: the service was not started here, and no GPU is.")]
    rows = [[name, size(peak)] for name, peak in report.peaks.items()]
    what = "The most that was seen, once a second. Of processes what is resident; of GPUs what is taken by whomever."
    return [Table(("", "at most"), rows), Text(what)]


def _counters(report: Report) -> list[Block]:
    """All that there are, and where they grew: a capture or a fall-back in the middle is what one looks for."""
    grown: dict[str, list[tuple[str, float]]] = {}
    for stage in report.stages:
        for name, value in stage.counters.items():
            grown.setdefault(name, []).append((stage.name, value))
    rows = [
        [name, number(report.totals.get(name, 0.0)), _told(grown.get(name, []))]
        for name in sorted({*grown, *report.totals})
        if grown.get(name) or report.totals.get(name)
    ]
    return [Table(("counter or gauge", "at the end", "grew in"), rows, figures=False)] if rows else []


def _told(told: Sequence[tuple[str, float]]) -> str:
    return "; ".join(f"{stage} {number(value)}" for stage, value in told)


def _own_times(report: Report) -> list[Block]:
    sums: dict[str, tuple[float, float]] = {}
    for stage in report.stages:
        for name, time in stage.times.items():
            count, spent = sums.get(name, (0.0, 0.0))
            sums[name] = count + time.count, spent + time.sum
    rows = [[name, number(count), f"{spent / count:.4f}" if count else NONE] for name, (count, spent) in sums.items()]
    return [Table(("histogram", "count", "mean"), sorted(rows))] if rows else []
