"""The command line: flags to settings, then to the part that does the work, which is imported only then."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cosyserve import __version__

if TYPE_CHECKING:
    from cosyserve.check.finding import Finding
    from cosyserve.settings.sections import Settings

USAGE_ERROR = 2

Command = Callable[[argparse.Namespace], int]


def run(arguments: Sequence[str]) -> int:
    """Parse and obey. Returns the exit status: 2, after one line, where the user is at fault."""
    from cosyserve.settings.sections import SettingsError

    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        command: Command = args.command
        return command(args)
    except SettingsError as error:
        print(f"cosyserve: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Errors of use in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


def _parser() -> argparse.ArgumentParser:
    from cosyserve.client import command as client
    from cosyserve.client import reload
    from cosyserve.client.measure import command as measurement
    from cosyserve_words import command as words

    parser = _Parser(prog="cosyserve", description="CosyVoice2 text-to-speech behind HTTP.")
    parser.add_argument("--version", action="version", version=f"cosyserve {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    serving = commands.add_parser("serve", help="run the server", description="Run the server until Ctrl-C or SIGTERM.")
    _add_serve_arguments(serving)
    serving.set_defaults(command=_serve)

    saying = commands.add_parser("say", help="speak a text with a running server", description="Speak a text.")
    client.add_arguments(saying)
    saying.set_defaults(command=client.run)

    reloading = commands.add_parser(
        "reload",
        help="have a running server read its configuration again",
        description="Have the server on this machine read its configuration again. No stream breaks; what is wrong "
        "with it is told, and then nothing changes.",
    )
    reload.add_arguments(reloading)
    reloading.set_defaults(command=reload.run)

    reading = commands.add_parser(
        "words", help="tell what would be said of a text", description="Tell what would be said, a line a segment."
    )
    words.add_arguments(reading)
    reading.set_defaults(command=_words)

    checking = commands.add_parser(
        "check", help="say whether the server would run", description="Say whether `serve` would run with these flags."
    )
    _add_serve_arguments(checking)
    checking.add_argument("--all", action="store_true", help="tell what the other engines need, too")
    checking.set_defaults(command=_check)

    measuring = commands.add_parser(
        "measure",
        help="measure what listeners hear of the server",
        description="Start the server with these flags, or take one that runs (--url), ask it as listeners do, one "
        "and many at once, and report first audio, underruns, throughput, memory, and what a worker's death costs.",
    )
    _add_serve_arguments(measuring)
    measurement.add_arguments(measuring)
    measuring.set_defaults(command=_measure)
    return parser


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: config.toml, where there is one)"
    )
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes any free one")
    parser.add_argument("--engine", help="auto, native, cosyvoice, demo or package.module:factory")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes")
    parser.add_argument("--model-dir", type=Path, metavar="DIR", help="folder with the weights")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))


def _serve(args: argparse.Namespace) -> int:
    # From the first moment on: until there is something to reload, it changes nothing.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _stand_in_for_closed_streams()
    from cosyserve.http.server import serve
    from cosyserve.settings.loading import load_settings

    return serve(_settings(args), lambda: load_settings(args.config, _overrides(args)))


def _settings(args: argparse.Namespace) -> "Settings":
    """Those to serve with. Raises SettingsError."""
    from cosyserve.check.engines import unknown_engine
    from cosyserve.settings.loading import load_settings
    from cosyserve.settings.sections import SettingsError

    settings = load_settings(args.config, _overrides(args))
    # A mistyped name ends here. What an engine lacks is found by the worker, which tells /health as well as the log.
    if unknown := unknown_engine(settings.model.engine):
        raise SettingsError(unknown)
    return settings


def _stand_in_for_closed_streams() -> None:
    """Where a standard stream is closed, whatever is opened next would take its number, and be written into."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # It has the lowest number that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _words(args: argparse.Namespace) -> int:
    from cosyserve.protocol import SOUNDS
    from cosyserve_words import command

    return command.run(args, SOUNDS)


def _check(args: argparse.Namespace) -> int:
    from cosyserve.check import report

    def rehearse(settings: "Settings") -> "list[Finding]":
        # Where a package of the front end's is missing, the report says so before this is imported.
        from cosyserve.http.rehearsal import rehearse

        return rehearse(settings)

    return report.run(args.config, _overrides(args), rehearse, every_engine=args.all)


def _measure(args: argparse.Namespace) -> int:
    from cosyserve.client.measure import command

    return command.run(args, _flags_for_serve(args), lambda: _settings(args))


def _flags_for_serve(args: argparse.Namespace) -> list[str]:
    """The flags that were given, to give them once more."""
    names = ("config", "host", "port", "engine", "workers", "model_dir", "log_level")
    given = [(name, getattr(args, name)) for name in names if getattr(args, name) is not None]
    return [word for name, value in given for word in (f"--{name.replace('_', '-')}", str(value))]


def _overrides(args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """The flags that were given, as settings."""
    flags: dict[str, dict[str, object]] = {
        "server": {"host": args.host, "port": args.port},
        "workers": {"count": args.workers},
        # A path on the command line counts from where it was typed.
        "model": {"engine": args.engine, "dir": args.model_dir and args.model_dir.absolute()},
        "log": {"level": args.log_level},
    }
    return {
        section: {key: value for key, value in table.items() if value is not None} for section, table in flags.items()
    }
