"""SSML, what speech services share of it: for a text that begins with `<speak`. A tag that is not taken is an error."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cosyserve_words.language import Language
from cosyserve_words.languages.find import base_of, find
from cosyserve_words.markup.marks import seconds
from cosyserve_words.spans import KEPT, PAUSE, Options, Span, Unreadable
from cosyserve_words.surface import Stretch
from cosyserve_words.tongues import Tongues

TAKEN = ("speak", "break", "p", "s", "sub", "say-as", "phoneme", "lang")
SAY_AS = ("characters", "digits", "telephone", "date", "cardinal", "ordinal")
_SAME = {"spell-out": "characters", "verbatim": "characters", "number": "cardinal", "alphanumeric": "characters"}
_BEGINS = re.compile(r"\s{0,200}(?:<\?xml[^<>]{0,500}\?>\s{0,200})?<speak[\s>]")
_TAG = re.compile(
    r"<!--(?:[^-]|-(?!->)){0,2000}-->|<\?[^<>]{0,500}\?>|<(?P<close>/)?\s?(?P<name>[A-Za-z][\w:.-]{0,40})"
    r"(?P<rest>(?:[^<>\"']|\"[^\"<>]{0,2000}\"|'[^'<>]{0,2000}'){0,2000}?)(?P<alone>/)?>"
)
"""What it finds has a bound: a hostile text must not keep other threads waiting."""
_ATTRIBUTE = re.compile(r"([A-Za-z_:][\w:.-]*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_TIME = re.compile(r"\+?([0-9]{1,5}(?:\.[0-9]{1,3})?)(ms|s)")
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
_DATE = re.compile("[0-9]+")
_ORDERS = {"mdy": (2, 0, 1), "dmy": (2, 1, 0), "ymd": (0, 1, 2)}


def is_ssml(text: str) -> bool:
    """Whether it begins with `<speak`."""
    return _BEGINS.match(text) is not None


@dataclass(slots=True)
class _Open:
    """A tag that is open: what it says of the text in it."""

    name: str
    options: Options
    attributes: dict[str, str]
    start: int


@dataclass(slots=True)
class _Reader:
    """Goes along the tags."""

    text: str
    options: Options
    open: list[_Open] = field(default_factory=list)

    def pieces(self) -> Iterator[Stretch | Span]:
        place = 0
        while (start := self.text.find("<", place)) >= 0:
            tag = _TAG.match(self.text, start)
            if not tag:
                raise Unreadable("a < that is part of no tag: write &lt; for it")
            yield from self._text(place, start)
            place = tag.end()
            if tag[0] in self.options.kept:
                yield Span(tag.start(), tag.end(), KEPT, self._options().language or self.options.default, tag[0])
            elif tag["name"]:
                yield from self._tag(tag)
        yield from self._text(place, len(self.text))
        if self.open:
            raise Unreadable(f"<{self.open[-1].name}> is not closed: write </{self.open[-1].name}> behind it")

    def _options(self) -> Options:
        return self.open[-1].options if self.open else self.options

    def _text(self, start: int, end: int) -> Iterator[Stretch]:
        inside = self.open[-1].name if self.open else ""
        if start < end and inside not in {"sub", "say-as", "phoneme"}:
            yield Stretch(start, end, self._options(), tags=False)

    def _tag(self, tag: re.Match[str]) -> Iterator[Stretch | Span]:
        name = tag["name"].lower()
        if name not in TAKEN:
            raise Unreadable(f"<{tag['name']}> is not taken: {', '.join(TAKEN)} are")
        attributes = {key: one or other for key, one, other in _ATTRIBUTE.findall(tag["rest"])}
        if tag["close"]:
            yield from self._closed(name, tag)
        elif name == "break":
            yield self._break(tag, attributes)
            if not tag["alone"]:
                self._push(name, attributes, tag.end())
        else:
            yield from self._opened(name, tag, attributes)

    def _opened(self, name: str, tag: re.Match[str], attributes: dict[str, str]) -> Iterator[Span]:
        if self.open and self.open[-1].name in {"sub", "say-as", "phoneme", "break"}:
            raise Unreadable(f"<{name}> stands in <{self.open[-1].name}>, which holds text alone")
        self._push(name, attributes, tag.end())
        self._check(name, attributes)
        if name in {"p", "s"}:
            yield self._pause(tag.start(), tag.end())
        if tag["alone"]:
            self.open.pop()

    def _push(self, name: str, attributes: dict[str, str], start: int) -> None:
        options = self._options()
        language = attributes.get("xml:lang", "")
        if name in {"lang", "speak", "p", "s"} and language:
            options = replace(options, language=language)
        self.open.append(_Open(name, options, attributes, start))

    def _check(self, name: str, attributes: dict[str, str]) -> None:
        wanted = {"sub": "alias", "say-as": "interpret-as", "phoneme": "ph", "lang": "xml:lang"}.get(name)
        if wanted and wanted not in attributes:
            raise Unreadable(f'<{name}> needs {wanted}="..."')
        if name == "phoneme" and not (self.options.pinyin and attributes.get("alphabet", "").endswith("pinyin")):
            raise Unreadable('<phoneme> is taken with alphabet="pinyin", by models that know pinyin (CosyVoice3)')
        kind = _kind(attributes)
        if name == "say-as" and kind not in SAY_AS:
            raise Unreadable(f'<say-as interpret-as="{kind}"> is not taken: {", ".join(SAY_AS)} are')

    def _closed(self, name: str, tag: re.Match[str]) -> Iterator[Stretch | Span]:
        if not self.open or self.open[-1].name != name:
            raise Unreadable(f"</{name}> closes nothing: tags must be closed in the order in which they were opened")
        opened = self.open.pop()
        if name in {"p", "s"}:
            yield self._pause(tag.start(), tag.end())
        elif name in {"sub", "say-as", "phoneme"} and opened.start < tag.start():
            yield self._said(opened, tag.start())

    def _said(self, opened: _Open, end: int) -> Stretch | Span:
        """What is said in place of the text in a tag."""
        written = self.text[opened.start : end]
        if opened.name == "sub":
            return Stretch(opened.start, end, opened.options, instead=opened.attributes["alias"])
        if opened.name == "phoneme":
            return Span(opened.start, end, KEPT, "zh", _pinyin(opened.attributes["ph"]))
        kind = _kind(opened.attributes)
        if kind == "date":
            return Stretch(
                opened.start, end, opened.options, instead=_date(written, opened.attributes.get("format", ""))
            )
        language = self._language(opened.start, end, opened.options)
        return Span(opened.start, end, "say-as", language.code, _as(kind, written.strip(), language))

    def _language(self, start: int, end: int, options: Options) -> Language:
        if options.language:
            return find(base_of(options.language))
        return Tongues(re.sub("<[^<>]*>", " ", self.text[max(0, start - 200) : end + 200]), options).main

    def _break(self, tag: re.Match[str], attributes: dict[str, str]) -> Span:
        time = _TIME.fullmatch(attributes.get("time", "").strip())
        if "time" in attributes and not time:
            raise Unreadable(f'<break time="{attributes["time"]}">: a time is 500ms or 1.5s')
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS:
            raise Unreadable(f'<break strength="{strength}">: {", ".join(_STRENGTHS)} are taken')
        pause_s = seconds(time[1], time[2]) if time else _STRENGTHS[strength]
        return Span(tag.start(), tag.end(), PAUSE, self._options().language or self.options.default, "", pause_s)

    def _pause(self, start: int, end: int) -> Span:
        language = self._language(start, end, self._options())
        return Span(start, end, PAUSE, language.code, language.full_stop)


def stretches(text: str, options: Options) -> Iterator[Stretch | Span]:
    """The pieces of a text of SSML. Raises `Unreadable`, which names the tag."""
    return _Reader(text, options).pieces()


def _kind(attributes: dict[str, str]) -> str:
    kind = attributes.get("interpret-as", "").lower()
    return _SAME.get(kind, kind)


def _pinyin(written: str) -> str:
    """`h ǎo` as the marks of CosyVoice3's tokenizer: `[h][ǎo]`."""
    return "".join(f"[{part}]" for part in written.split())


def _date(written: str, order: str) -> str:
    """A date in figures as `2024-05-06`, which every language knows; another stays."""
    parts = _DATE.findall(written)
    if len(parts) != 3 or order not in {*_ORDERS, ""}:
        return written
    year, month, day = (parts[place] for place in _ORDERS[order or ("ymd" if len(parts[0]) == 4 else "mdy")])
    return f"{year}-{month:0>2}-{day:0>2}"


def _as(kind: str, written: str, language: Language) -> str:
    figures = "".join(char for char in written if char.isdecimal() and char.isascii())
    if kind == "cardinal" and re.fullmatch(r"-?[0-9,]*\.?[0-9]+", written):
        return (
            language.decimal(written.replace(",", ""))
            if "." in written or "-" in written
            else language.cardinal(figures)
        )
    if kind == "ordinal" and figures:
        return language.ordinal(figures)
    if kind == "telephone":
        groups = re.findall("[0-9]+", written)
        return f"{language.comma}{' ' if language.spaced else ''}".join(language.digits(group) for group in groups)
    if kind == "digits":
        return language.digits(figures)
    return " ".join(
        language.digits(char) if char.isdecimal() else language.sign(char) for char in written if not char.isspace()
    )
