"""`cosyserve measure`: its options, its files, and its exit status."""

import argparse
import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cosyserve import __version__
from cosyserve.client.order import DEFAULT_URL, SayError, UsageError

if TYPE_CHECKING:
    from cosyserve.client.measure.course import Own
    from cosyserve.client.measure.document import Document
    from cosyserve.client.measure.record import Report
    from cosyserve.client.measure.target import Target
    from cosyserve.settings.sections import Settings

MINUTES = 8.0
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cosyserve measure` that `serve` has not."""
    parser.add_argument(
        "--url", help=f"measure the service at this address ({DEFAULT_URL}, say) instead of starting one"
    )
    parser.add_argument("--api-key", metavar="KEY", help="for --url; better given as $COSYSERVE_API_KEY")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, metavar="N", help="how long to ask (8), loading aside"
    )
    parser.add_argument("--clients", type=int, nargs="+", metavar="N", help="how many at once (1 2 4 10 16)")
    parser.add_argument("--voice", default="", metavar="NAME", help="the known voice (default: the configured one)")
    parser.add_argument("--recording", type=Path, metavar="FILE", help="a WAV file that new voices are cut from")
    parser.add_argument("--no-kill", action="store_true", help="leave the workers of the service alive")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="NAME", help="write NAME.md, .html, .json and .log (measure-DATE)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A.json", "B.json"), help="measure nothing: two reports side by side"
    )


def run(args: argparse.Namespace, flags: Sequence[str], read_settings: "Callable[[], Settings]") -> int:
    """Measure, or compare. Returns the exit status: 1 where something failed outright.

    flags: those of `serve`, as they were given. read_settings: what `serve` would run with; raises SettingsError.
    """
    try:
        if args.compare:
            return _compare(args)
        return _measure(args, flags, read_settings)
    except SayError as error:
        print(f"cosyserve measure: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status


def _compare(args: argparse.Namespace) -> int:
    from cosyserve.client.measure import compare, markdown
    from cosyserve.client.measure.record import read

    document = compare.side_by_side(*map(read, args.compare))
    print(markdown.render(document), end="")
    if args.output:
        _write(_checked(args.output), document)
    return 0


def _measure(args: argparse.Namespace, flags: Sequence[str], read_settings: "Callable[[], Settings]") -> int:
    from cosyserve.client.measure.course import Own
    from cosyserve.client.measure.service import started
    from cosyserve.client.measure.target import Target

    _check(args, flags)
    base = _checked(args.output or Path(f"measure-{datetime.now().astimezone():%Y%m%d-%H%M%S}"))
    # Whoever ends it so wants no less to be ended than with Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    if args.url:
        return _report(args, base, Target.at(args.url, args.api_key or os.environ.get("COSYSERVE_API_KEY")), None)
    settings = read_settings()
    with started(flags, settings, base.with_name(f"{base.name}.log")) as service:
        own = Own(service, settings, kills=not args.no_kill)
        return _report(args, base, Target.at(service.url, service.key), own)


def _check(args: argparse.Namespace, flags: Sequence[str]) -> None:
    if args.url and flags:
        raise UsageError(f"--url measures a service that runs already: {flags[0]} would change nothing, leave it out")
    if not 0 < args.minutes < float("inf"):
        raise UsageError("--minutes must be above 0")
    if any(count < 1 for count in args.clients or ()):
        raise UsageError("--clients must be 1 or more")


def _checked(base: Path) -> Path:
    """What takes minutes must not end in a file that cannot be written."""
    base = base.with_suffix("") if base.suffix in {".md", ".html", ".json"} else base
    if not os.access(base.absolute().parent, os.W_OK):
        raise UsageError(f"cannot write {base}.md: is there a folder {base.absolute().parent} that may be written?")
    return base


def _report(args: argparse.Namespace, base: Path, target: "Target", own: "Own | None") -> int:
    """Measure, write what was found, and say where. What was found until Ctrl-C is found, too."""
    from cosyserve.client.measure import layout
    from cosyserve.client.measure.asking import Asker
    from cosyserve.client.measure.course import Course
    from cosyserve.client.measure.plan import CLIENTS
    from cosyserve.client.measure.recordings import Recordings
    from cosyserve.settings.sections import DEFAULT_PROMPT, PACKAGED

    asker = Asker(target, Recordings(args.recording or PACKAGED / DEFAULT_PROMPT), args.voice)
    report = _new_report(args, target, started=own is not None)
    try:
        asyncio.run(Course(report, asker, args.clients or CLIENTS, own).run())
    except KeyboardInterrupt:
        report.interrupted = True
        if not report.stages:
            raise
    _write(base, layout.lay_out(report))
    content = report.model_dump_json(indent=1)
    base.with_name(f"{base.name}.json").write_text(content, encoding="utf-8")
    _tell(base, report, content if args.json else "")
    if report.interrupted:
        return INTERRUPTED
    return 1 if report.failures else 0


def _new_report(args: argparse.Namespace, target: "Target", *, started: bool) -> "Report":
    from cosyserve.client.measure.machine import facts
    from cosyserve.client.measure.record import Report

    where = {} if started else {"this is the machine of": "the measuring client; the service's may be another"}
    return Report(
        version=__version__,
        began_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=_without_secrets(sys.argv[1:], {args.api_key: "...", args.url: target.shown}),
        url=target.shown,
        started=started,
        minutes=args.minutes,
        machine={**where, **facts()},
    )


def _without_secrets(words: Sequence[str], secrets: Mapping[str | None, str]) -> str:
    """The command line, with what is shown in the place of each word that has one."""
    for secret, shown in secrets.items():
        words = [word.replace(secret, shown) if secret else word for word in words]
    return shlex.join(["cosyserve", *words])


def _write(base: Path, document: "Document") -> None:
    from cosyserve.client.measure import markdown, page

    base.with_name(f"{base.name}.md").write_text(markdown.render(document), encoding="utf-8")
    base.with_name(f"{base.name}.html").write_text(page.render(document), encoding="utf-8")


def _tell(base: Path, report: "Report", content: str) -> None:
    from cosyserve.client.measure.layout import headline

    if content:
        print(content)
    else:
        for name, told in headline(report):
            print(f"{name:<52}{told}")
        print(f"{'report':<52}{base}.html, .md and .json")
    for failure in report.failures:
        print(f"cosyserve measure: {failure}", file=sys.stderr)
