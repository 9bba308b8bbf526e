"""English number words: num2words', without its commas and hyphens."""

from functools import cache, lru_cache

from num2words import num2words

FIGURES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST_FIGURES = 36
"""A longer number has no names that anybody knows: it is read figure by figure."""


def cardinal(number: str) -> str:
    """`1234` as one thousand two hundred and thirty four."""
    if len(number) > MOST_FIGURES:
        return digits(number)
    number = number.lstrip("0")
    groups = [int(number[max(0, end - 3) : end]) for end in range(len(number), 0, -3)]
    said = [f"{_group(group)}{_scale(power)}" for power, group in enumerate(groups) if group]
    if len(groups) > 1 and 0 < groups[0] < 100:
        said[0] = f"and {said[0]}"
    return " ".join(reversed(said)) or FIGURES[0]


def ordinal(number: str) -> str:
    """`21` as twenty first."""
    *before, last = cardinal(number).split(" ")
    return " ".join([*before, _ordinal(last)])


@lru_cache(maxsize=1000)
def _group(number: int) -> str:
    # num2words takes 200 microseconds for a number, so it is asked for groups of three figures, and once for each.
    return _plain(num2words(number))


@cache
def _scale(power: int) -> str:
    """What is behind a group of three figures: thousand, million."""
    return " " + _plain(num2words(1000**power)).removeprefix("one ") if power else ""


@cache
def _ordinal(word: str) -> str:
    """One word of a number as the last of an ordinal: `two` as second."""
    names = {_plain(num2words(number)): number for number in [*range(20), *range(20, 100, 10)]}
    if word in names:
        return str(num2words(names[word], to="ordinal"))
    return f"{word}th"


def digits(number: str, *, zero: str = "zero") -> str:
    """`0592` as zero five nine two; what is no figure stays."""
    return " ".join((zero if char == "0" else FIGURES[int(char)]) if char in "0123456789" else char for char in number)


def decimal(number: str, *, minus: str = "minus") -> str:
    """`-3.14` as minus three point one four."""
    sign = f"{minus} " if number.startswith("-") else ""
    whole, _, part = number.lstrip("+-").partition(".")
    words = cardinal(whole) if whole else ""
    return sign + (f"{words} point {digits(part)}".strip() if part else words)


def year(number: str) -> str:
    """`1984` as nineteen eighty four; of four figures."""
    high, low = number[:2], number[2:]
    if high[1] == "0" and low[0] == "0":  # 2000 to 2009: two thousand and five
        return cardinal(number)
    if low == "00":
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {pair(low)}"


def pair(number: str) -> str:
    """Two figures behind others: `05` as oh five."""
    return f"oh {FIGURES[int(number[1])]}" if number[0] == "0" else cardinal(number)


def house(figures: str) -> str:
    """`221` as two twenty one, `708` as seven zero eight, `1428` as fourteen twenty eight."""
    if len(figures) < 3 or len(figures) > 4 or figures[0] == "0":
        return cardinal(figures) if len(figures) < 3 and figures[0] != "0" else digits(figures)
    head, tail = figures[:-2], figures[-2:]
    if tail == "00":
        return f"{cardinal(head)} hundred"
    if tail[0] == "0":
        return digits(figures) if len(head) == 1 else f"{cardinal(head)} oh {cardinal(tail[1])}"
    return f"{cardinal(head)} {cardinal(tail)}"


def _plain(words: str) -> str:
    return words.replace(",", "").replace("-", " ")
