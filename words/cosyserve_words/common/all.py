"""All rules of every language: what comes before those of the language, and what comes after."""

from cosyserve_words.common import addresses, emoji, signs
from cosyserve_words.language import Rule

FIRST: tuple[Rule, ...] = addresses.RULES
LAST: tuple[Rule, ...] = (*emoji.RULES, *signs.RULES)
