"""Small tables, written as one reads them."""


def table(entries: str) -> dict[str, str]:
    """`km=千米 kg=千克` as a mapping; `_` in a name stands for a blank."""
    pairs = (entry.rpartition("=") for entry in entries.split())
    return {sign: name.replace("_", " ") for sign, _, name in pairs}


def words(entries: str) -> tuple[str, ...]:
    """Words with blanks between them."""
    return tuple(entries.split())
