"""Spanish numbers agree with what they count: veintiún años, doscientas personas."""

import re

_NOUN = re.compile(r"\s([^\W\d_]{3,})")
_FEMININE = re.compile(r"(?:as|ciones|siones|dades)$")
_MASCULINE = frozenset(
    {"días", "día", "problemas", "sistemas", "programas", "kilogramas", "idiomas", "temas", "poemas", "mapas"}
)
_APOCOPE = (("veintiuno", "veintiún"), (" uno", " un"))


def spanish(said: str, follows: str) -> str:
    """A number in front of the word that follows, if one does."""
    noun = _NOUN.match(follows)
    if not noun:
        return said
    word = noun[1].lower()
    if word not in _MASCULINE and _FEMININE.search(word):
        return re.sub(r"uno$", "una", said.replace("cientos", "cientas").replace("quinientos", "quinientas"))
    return next((said.removesuffix(long) + short for long, short in _APOCOPE if said.endswith(long)), said)
