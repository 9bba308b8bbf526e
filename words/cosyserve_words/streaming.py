"""Text that is still being written: where it must not be cut."""

import re

_CLOSED = re.compile(
    r"`[^`\n]{1,300}`|\$(?=[^\s$0-9])[^$\n]{1,300}\$|\[(?!\s)[^\[\]\n]{0,300}\]|<[^<>\s][^<>\n]{0,300}>"
)
_OPEN = re.compile(r"\[(?!\s)[^\[\]\n]{0,300}$|<[^<>\s][^<>\n]{0,300}$|\$(?=[^\s$0-9])[^$\n]{1,300}$|`[^`\n]{0,300}$")


def is_open(text: str) -> bool:
    """Whether a mark that has begun at the end of `text` has not ended: a bracket, a tag, a formula, code."""
    # What ends a formula or code is what begins one.
    return bool(_OPEN.search(_CLOSED.sub(" ", text)))
