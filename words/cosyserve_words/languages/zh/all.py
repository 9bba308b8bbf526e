"""All rules of Chinese, in their order: what is more particular stands before what takes any number."""

from cosyserve_words.languages.zh import clock, codes, dates, formulas, measures, money, quantities

RULES = (
    *formulas.EARLY,
    *codes.RULES,
    *dates.RULES,
    *clock.RULES,
    *quantities.EARLY,
    *money.RULES,
    *measures.RULES,
    *quantities.LATE,
    *formulas.RULES,
)
