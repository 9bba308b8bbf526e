"""English times of day and durations in figures."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import DASH, END, START, after
from cosyserve_words.languages.en.numbers import cardinal, pair

_HALF = r"(?i:[ap]\.? ?m\b\.?)"
_ZONE = r"(?i: ?(?:[ecmpb]\.?s\.?t|[ecmp]\.?d\.?t|g\.?m\.?t|u\.?t\.?c|c\.?e\.?t)\b\.?)"
_HOUR, _MINUTE = r"(?:2[0-4]|1[0-9]|0?[0-9])", r"[0-5][0-9]"
_CLOCK = rf"(?:{_HOUR}:{_MINUTE}|{_HOUR})"
_ENDS_SENTENCE = re.compile(r"\.(?:$|\s+[A-Z\"“(])")


def clock(hour: str, minute: str, *, half: bool) -> str:
    """`02`, `05` as two oh five; on the hour two o'clock, where no half of the day is told."""
    said = cardinal(hour.lstrip("0") or "0")
    if minute and int(minute):
        return f"{said} {pair(minute)}"
    return said if half or not minute else f"{said} o'clock"


def letters(written: str) -> str:
    """`a.m.` as AM."""
    return "".join(char for char in written if char.isalpha()).upper()


def _said(part: str) -> str:
    """One time: `4:00 am`, `5pm`, `14:30`."""
    found = re.match(rf"(?P<hour>[0-9]+)(?:[:.](?P<minute>[0-9]+))? ?(?P<half>{_HALF})?", part)
    assert found
    said = clock(found["hour"], found["minute"] or "", half=bool(found["half"]))
    return f"{said} {letters(found['half'])}" if found["half"] else said


def _time(found: re.Match[str], context: Context) -> str:
    del context
    said = _said(found["time"])
    if found["zone"]:
        said += f" {letters(found['zone'])}"
    return said + _stop(found)


def _stop(found: re.Match[str]) -> str:
    """The full stop of `p.m.` that ends the sentence too."""
    rest = found[0][-1] + after(found)
    return "." if _ENDS_SENTENCE.match(rest) else ""


def _range(found: re.Match[str], context: Context) -> str:
    del context
    return f"{_said(found['from'])} to {_said(found['to'])}{_stop(found)}"


def _count(number: str, unit: str) -> str:
    number = number.lstrip("0") or "0"
    return f"{cardinal(number)} {unit}{'' if number == '1' else 's'}"


def _long(found: re.Match[str], context: Context) -> str:
    del context
    hours, minutes, seconds = (found[name] for name in ("hour", "minute", "second"))
    said = f"{_count(hours, 'hour')} {_count(minutes, 'minute')} and {_count(seconds, 'second')}"
    for name in ("half", "zone"):
        said += f" {letters(found[name])}" if found[name] else ""
    return said + _stop(found)


RULES: tuple[Rule, ...] = (
    rule(
        "time",
        rf"{START}(?P<hour>{_HOUR}):(?P<minute>{_MINUTE}):(?P<second>{_MINUTE})(?: ?(?P<half>{_HALF}))?"
        rf"(?P<zone>{_ZONE})?{END}",
        _long,
    ),
    rule("time", rf"{START}(?P<from>{_CLOCK} ?{_HALF}){DASH}(?P<to>{_CLOCK} ?{_HALF}){END}", _range),
    rule("time", rf"{START}(?P<from>{_CLOCK}){DASH}(?P<to>{_CLOCK} ?{_HALF}){END}", _range),
    rule("time", rf"{START}(?P<from>{_HOUR}:{_MINUTE}){DASH}(?P<to>{_HOUR}:{_MINUTE}){END}", _range),
    rule("time", rf"{START}(?P<time>{_HOUR}(?:[:.]{_MINUTE})? ?{_HALF})(?P<zone>{_ZONE})?(?![A-Za-z0-9])", _time),
    rule("time", rf"{START}(?P<time>{_HOUR}:{_MINUTE})(?P<zone>{_ZONE})?(?![A-Za-z0-9:])", _time),
)
