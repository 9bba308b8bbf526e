"""A document as one HTML page, whole in itself: it may be mailed, and loads nothing from anywhere."""

from collections.abc import Iterator, Sequence
from html import escape

from cosyserve.client.measure.document import Block, Document, Heading, Plot, Points, Table, Text
from cosyserve.client.measure.svg import draw

# What the page says of itself, browsers enforce: no script, no picture, no font, no request.
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head><body><main><h1>{title}</h1>
"""
STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --faint: #dfe2e6; --soft: #5c6470; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #16181b; --faint: #34383e; --soft: #9aa2ad; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--faint); text-align: left; vertical-align: top; }
.figures th:not(:first-child), .figures td:not(:first-child) { text-align: right; }
.figures td { white-space: nowrap; } .words td { overflow-wrap: anywhere; } .words td:first-child { min-width: 14rem; }
.words td:nth-child(2) { min-width: 7rem; }
th { color: var(--soft); font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } svg { width: 560px; max-width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; } svg .title { fill: var(--ink); font-size: 14px; font-weight: 600; }
.grid { stroke: var(--faint); } .line { fill: none; stroke-width: 2; }
.line { stroke: var(--c); } .dot { fill: var(--c); }
.c0 { --c: #2f6fde; } .c1 { --c: #d9622b; } .c2 { --c: #23936b; } .c3 { --c: #a347c1; } .c4 { --c: #b38a00; }
.c5 { --c: #7b8490; }
"""


def render(document: Document) -> str:
    """The whole page."""
    head = HEAD.replace("{title}", escape(document.title)).replace("{style}", STYLE)
    return "".join([head, *_body(document.blocks), "</main></body></html>\n"])


def _body(blocks: Sequence[Block]) -> Iterator[str]:
    plots: list[str] = []
    for block in blocks:
        if isinstance(block, Plot):
            plots.append(draw(block))
            continue
        # Plots that follow one another stand side by side.
        if any(plots):
            yield f'<div class="plots">{"".join(plots)}</div>\n'
        plots = []
        yield from _block(block)
    if any(plots):
        yield f'<div class="plots">{"".join(plots)}</div>\n'


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"<h2>{escape(text)}</h2>\n"
        case Text(text):
            yield f"<p>{escape(text)}</p>\n"
        case Points(items, nothing):
            listed = "".join(f"<li>{escape(item)}</li>" for item in items or [nothing] if item)
            yield f"<ul>{listed}</ul>\n" if listed else ""
        case Table(head, rows, figures):
            yield f'<div class="scroll"><table class="{"figures" if figures else "words"}">'
            yield f"<thead>{_row(head, 'th')}</thead><tbody>"
            yield from (_row(row, "td") for row in rows)
            yield "</tbody></table></div>\n"


def _row(cells: Sequence[str], kind: str) -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"
