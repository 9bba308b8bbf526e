"""What the rules look at: text without inline markup, in one width, that knows where each character was written."""

from dataclasses import dataclass, field

from cosyserve_words.spans import Options

ATOM = "\ue000"
"""Stands in a surface for what is settled already; private characters of the text itself are left out before."""


@dataclass(frozen=True, slots=True)
class Atom:
    """What is settled before the rules come: a pause, a mark that is kept, words that the author gave."""

    kind: str
    spoken: str
    pause_s: float = 0.0
    language: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of written text that is still to be read.

    breaks: whether a pause follows, because its line ends. bare: nothing of it is said itself. tags: whether markdown
    and HTML are looked for. instead: what is read in its place.
    """

    start: int
    end: int
    options: Options
    breaks: bool = False
    bare: bool = False
    tags: bool = True
    instead: str | None = None


@dataclass(slots=True)
class Surface:
    """Characters, where each was written (`starts`, `ends`), and the atoms among them, by their index."""

    text: str
    starts: list[int]
    ends: list[int]
    atoms: dict[int, Atom]


@dataclass(slots=True)
class Builder:
    """Makes a surface of a text, from left to right."""

    _parts: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)
    _atoms: dict[int, Atom] = field(default_factory=dict)

    def keep(self, text: str, start: int) -> None:
        """Add what is written at `start`, character for character."""
        self._parts.append(text)
        self._starts += range(start, start + len(text))
        self._ends += range(start + 1, start + len(text) + 1)

    def put(self, text: str, start: int, end: int) -> None:
        """Add what stands for all that is written from `start` to `end`."""
        self._parts.append(text)
        self._starts += [start] * len(text)
        self._ends += [end] * len(text)

    def put_atom(self, atom: Atom, start: int, end: int) -> None:
        """Add what is settled already."""
        self._atoms[len(self._starts)] = atom
        self.put(ATOM, start, end)

    def made(self) -> Surface:
        """The surface of all this; of blanks in a row, which marks between them have left, it has the first."""
        text = "".join(self._parts)
        if "  " not in text:
            return Surface(text, self._starts, self._ends, self._atoms)
        kept = [place for place, char in enumerate(text) if char != " " or text[place - 1 : place] != " "]
        return Surface(
            "".join(text[place] for place in kept),
            [self._starts[place] for place in kept],
            [self._ends[place] for place in kept],
            {new: self._atoms[old] for new, old in enumerate(kept) if old in self._atoms},
        )
