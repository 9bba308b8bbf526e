"""`cosyserve words`: what will be said for a text, a line for each segment; or JSON lines in and out, with no model."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cosyserve_words.lexicon import load
from cosyserve_words.reading import read
from cosyserve_words.spans import Options, Reading, Unreadable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("text", nargs="*", help="what is to be read; standard input where there is none")
    parser.add_argument(
        "--language", default="", help="the text's language, such as en or zh-HK, where it does not say"
    )
    parser.add_argument("--default-language", default="zh", help="the service's language (text.language)")
    parser.add_argument(
        "--markup", choices=("strip", "read"), default="strip", help="leave signs of markup out, or name them"
    )
    parser.add_argument("--lexicon", type=Path, help="a TOML or CSV file: written to spoken")
    parser.add_argument("--spans", action="store_true", help="show each span, its kind and language")
    parser.add_argument(
        "--json", action="store_true", help='JSON lines: {"text": ..., "language": ...} in, {"segments": [...]} out'
    )


def run(options: argparse.Namespace, kept: Iterable[str] = ()) -> int:
    """The command's exit status: 0, or 1 where a text or a file asks for what is not taken. kept: as in `Options`."""
    try:
        lexicon = load(options.lexicon) if options.lexicon else None
    except (OSError, Unreadable) as refused:
        return _refuse(str(refused))
    how = Options(options.language, options.default_language, options.markup, kept=frozenset(kept), lexicon=lexicon)
    if options.json:
        return _print_all(_answers(sys.stdin, how, spans=options.spans))
    try:
        reading = read(" ".join(options.text) or sys.stdin.read(), how)
    except Unreadable as refused:
        return _refuse(str(refused))
    return _print_all(_span_lines(reading) if options.spans else (segment.text for segment in reading.segments))


def answer(line: str, how: Options, *, spans: bool = False) -> dict[str, Any]:
    """What one line of JSON comes to: its segments, or an error that says what is wrong with it."""
    try:
        request = json.loads(line)
    except json.JSONDecodeError as failed:
        return {"error": f"not JSON: {failed}"}
    if not isinstance(request, dict) or not isinstance(request.get("text"), str):
        return {"error": 'write {"text": "..."} in each line, with "language" at will'}
    language = request.get("language") or how.language
    if not isinstance(language, str):
        return {"error": '"language" is a tag such as "en"'}
    try:
        reading = read(request["text"], replace(how, language=language))
    except Unreadable as refused:
        return {"error": str(refused)}
    return as_json(reading, spans=spans)


def as_json(reading: Reading, *, spans: bool = False) -> dict[str, Any]:
    """A reading for tests and tools; a silence is named where there is one."""
    found: dict[str, Any] = {"segments": [segment.text for segment in reading.segments]}
    if any(segment.pause_s for segment in reading.segments):
        found["pauses_s"] = [segment.pause_s for segment in reading.segments]
    if spans:
        found["spans"] = [
            {"start": span.start, "end": span.end, "kind": span.kind, "language": span.language, "spoken": span.spoken}
            for span in reading.spans
        ]
    return found


def _answers(lines: Iterable[str], how: Options, *, spans: bool) -> Iterator[str]:
    for line in lines:
        if line.strip():
            yield json.dumps(answer(line, how, spans=spans), ensure_ascii=False)


def _span_lines(reading: Reading) -> Iterator[str]:
    for span in reading.spans:
        yield f"{span.start}\t{span.end}\t{span.kind}\t{span.language}\t{span.spoken}"


def _print_all(lines: Iterable[str]) -> int:
    for line in lines:
        print(line, flush=True)
    return 0


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def main(words: Sequence[str] | None = None) -> int:
    """The command by itself: `python -m cosyserve_words.command`."""
    parser = argparse.ArgumentParser(prog="cosyserve words", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
