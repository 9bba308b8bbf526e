"""`cosyserve say`: its options, and its exit status."""

import argparse
import sys

from cosyserve.client.order import DEFAULT_URL, SayError, read_order
from cosyserve.client.receipt import summary
from cosyserve.client.transfer import fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cosyserve say`. Numbers stay strings here: `run` tells of a bad one in one line."""
    parser.add_argument("text", metavar="TEXT", help="what to say; - reads it from standard input")
    parser.add_argument(
        "-o", "--output", default="speech.wav", metavar="FILE", help="where to write (speech.wav); - is standard output"
    )
    parser.add_argument("--url", help=f"the server ($COSYSERVE_URL, else {DEFAULT_URL})")
    parser.add_argument("--instruction", metavar="TEXT", help="how to say it: tone, dialect, feeling")
    parser.add_argument("--prompt-wav", metavar="FILE", help="a recording of the voice to speak with")
    parser.add_argument("--prompt-text", metavar="TEXT", help="what is said in the recording")
    parser.add_argument("--voice", metavar="NAME", help="a stored voice to speak with")
    parser.add_argument("--language", metavar="TAG", help="of bare numbers and signs: en, zh, pt-BR")
    parser.add_argument("--speed", metavar="X", help="1 is the model's own pace, 2 twice as fast")
    parser.add_argument("--seed", metavar="N", help="makes the answer repeatable")
    parser.add_argument("--sample-rate", metavar="HZ", help="of the answer (the model's own: 24000)")
    parser.add_argument("--format", choices=("pcm", "wav"), help="default: by the suffix of --output; pcm for -")
    parser.add_argument("--api-key", metavar="KEY", help="better given as $COSYSERVE_API_KEY: others can see arguments")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    """Say it; return the exit status. Standard output carries audio or nothing, every message goes to stderr."""
    try:
        order = read_order(args)
        receipt = fetch(order)
        if not args.quiet:
            _tell(summary(order, receipt))
    except SayError as error:
        _tell(f"cosyserve say: {' '.join(str(error).split())}")
        return error.exit_status
    except KeyboardInterrupt:
        _tell("cosyserve say: interrupted")
        return 130
    return 0


def _tell(message: str) -> None:
    print(message, file=sys.stderr)
