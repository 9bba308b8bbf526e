"""All rules of English, in their order."""

from cosyserve_words.language import Rule
from cosyserve_words.languages import names
from cosyserve_words.languages.en import (
    abbreviations,
    codes,
    dates,
    fractions,
    measures,
    money,
    quantities,
    symbols,
    times,
)

RULES: tuple[Rule, ...] = (
    *codes.RULES,
    *dates.RULES,
    *times.RULES,
    *money.RULES,
    *measures.RULES,
    *fractions.RULES,
    *quantities.RULES,
    *names.RULES,
    *quantities.PLAIN,
    *abbreviations.RULES,
    *symbols.RULES,
)
