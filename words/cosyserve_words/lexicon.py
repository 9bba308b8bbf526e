"""How an author wants words to be said: a file of the service's, or a request's own."""

import csv
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cosyserve_words.languages.find import base_of
from cosyserve_words.spans import Unreadable

MOST_ENTRIES = 20_000
MOST_CHARS = 200
EVERY = "*"
"""The table of a file for words of every language."""
_COLUMNS = ("written", "spoken", "language", "cased")
_YES = frozenset({"1", "true", "yes"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One word. language: "" for every language. cased: whether its capitals count."""

    written: str
    spoken: str
    language: str = ""
    cased: bool = False


class Lexicon:
    """Written words and what is said for them. Words are whole: `SQL` is not found in `MySQLite`."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(map(_checked, entries))
        if len(self.entries) > MOST_ENTRIES:
            raise Unreadable(f"a lexicon of {len(self.entries)} words: {MOST_ENTRIES} are taken at most")
        self._found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._found.setdefault(entry.written.lower(), []).append(entry)
        lengths = {len(written) for written in self._found}
        self._lengths = sorted(lengths, reverse=True)
        firsts = {written[0] for written in self._found}
        both = "".join(map(re.escape, sorted(firsts | {char.upper() for char in firsts if len(char.upper()) == 1})))
        self._begin = re.compile(rf"[{both}]") if both else None

    def __bool__(self) -> bool:
        return bool(self.entries)

    def over(self, other: "Lexicon") -> "Lexicon":
        """Both; where they differ, this one is right."""
        return Lexicon([*other.entries, *self.entries])

    def with_own(self, pairs: Iterable[tuple[str, str]]) -> "Lexicon":
        """This one with a request's own words before it."""
        own = dict(pairs)
        return of_pairs(own).over(self) if own else self

    def found(self, text: str, language: Callable[[int, int], str]) -> Iterator[tuple[int, int, str]]:
        """As `Pronunciations`; of words that begin at one place the longest is taken."""
        low, behind = text.lower(), 0
        if self._begin is None or len(low) != len(text):  # a letter whose small form is two: no word is looked for
            return
        for begin in self._begin.finditer(text):
            start = begin.start()
            for end in (start + length for length in self._lengths if start >= behind and start + length <= len(text)):
                entries = self._found.get(low[start:end])
                if entries and _is_whole(text, start, end):
                    spoken = _chosen(text[start:end], entries, language(start, end))
                    if spoken is not None:
                        yield start, end, spoken
                        behind = end
                        break


def _chosen(written: str, entries: list[Entry], language: str) -> str | None:
    """What is said in a language: by an entry of that language before one of every, by the last before the others."""
    right = [entry for entry in reversed(entries) if not entry.cased or entry.written == written]
    for tag in (language, ""):
        for entry in right:
            if base_of(entry.language) == tag:
                return entry.spoken
    return None


def of_pairs(pairs: Mapping[str, str]) -> Lexicon:
    """A request's own words."""
    return Lexicon(Entry(written, spoken) for written, spoken in pairs.items())


def load(path: Path) -> Lexicon:
    """A file: TOML with a table for each language (`["*"]` for all), or CSV with `written,spoken,language,cased`.

    Raises `Unreadable`, which names the file and the place; OSError.
    """
    text = path.read_bytes()
    try:
        decoded = text.decode("utf-8-sig")
        return Lexicon(_of_csv(decoded) if path.suffix.lower() == ".csv" else _of_toml(decoded))
    except UnicodeDecodeError as failed:
        raise Unreadable(f"{path}: it is not UTF-8") from failed
    except (Unreadable, tomllib.TOMLDecodeError, csv.Error) as failed:
        raise Unreadable(f"{path}: {failed}") from failed


def _of_toml(text: str) -> Iterator[Entry]:
    for language, words in tomllib.loads(text).items():
        if not isinstance(words, dict):
            raise Unreadable(f'{language} stands in no table: write ["*"] above it, or a language such as [en]')
        for written, value in words.items():
            known = value if isinstance(value, dict) else {"spoken": value}
            spoken, cased = known.get("spoken"), known.get("cased", False)
            if not isinstance(spoken, str) or not isinstance(cased, bool) or set(known) - {"spoken", "cased"}:
                raise Unreadable(f'[{language}] {written}: write "words", or {{ spoken = "words", cased = true }}')
            yield Entry(written, spoken, "" if language == EVERY else language, cased)


def _of_csv(text: str) -> Iterator[Entry]:
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or (number == 1 and cells[0] == "written"):
            continue
        if not 2 <= len(cells) <= len(_COLUMNS) or not cells[0]:
            raise Unreadable(f"line {number}: it has the columns {','.join(_COLUMNS)}, the last two at will")
        language, cased = [*cells[2:], "", ""][:2]
        yield Entry(cells[0], cells[1], "" if language == EVERY else language, cased.lower() in _YES)


def _checked(entry: Entry) -> Entry:
    if not entry.written.strip() or len(entry.written) > MOST_CHARS or len(entry.spoken) > MOST_CHARS:
        raise Unreadable(
            f"{entry.written[:40]!r}: a word has 1 to {MOST_CHARS} characters, and what is said for it no more"
        )
    return entry


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no letter or figure of the same kind goes on at either side."""
    return not (_goes_on(text[start - 1 : start], text[start]) or _goes_on(text[end : end + 1], text[end - 1]))


def _goes_on(outside: str, inside: str) -> bool:
    return bool(outside) and _is_spaced(outside) and _is_spaced(inside)


def _is_spaced(char: str) -> bool:
    """Whether it is of a script whose words stand apart: letters behind Chinese ones are of another word."""
    return char.isalnum() and char < "\u2e80"
