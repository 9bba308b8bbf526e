"""A document as Markdown. Pictures stay out: the HTML page has them."""

from collections.abc import Iterator, Sequence

from cosyserve.client.measure.document import Block, Document, Heading, Points, Table, Text


def render(document: Document) -> str:
    """The whole of it."""
    parts = ("\n".join(_block(block)) for block in document.blocks)
    return "\n\n".join([f"# {document.title}", *filter(None, parts)]) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"## {text}"
        case Text(text):
            yield _safe(text)
        case Points(items, nothing):
            yield from (f"- {_safe(item)}" for item in items or [nothing] if item)
        case Table(head, rows, figures):
            yield _row(head)
            yield _row(["---", *(["---:" if figures else "---"] * (len(head) - 1))])
            yield from (_row(row) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_safe(cell).replace('|', '&#124;') for cell in cells)} |"


def _safe(text: str) -> str:
    """What a service tells is one line, and no markup of ours."""
    return " ".join(text.split()).replace("<", "&lt;")
