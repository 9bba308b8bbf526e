"""All shared rules, in their order."""

from cosyserve_words.language import Rule

RULES: tuple[Rule, ...] = ()
