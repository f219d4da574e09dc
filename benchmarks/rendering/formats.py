"""Blocks as Markdown, and as one HTML page that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape

from ..options import table
from .document import Block, Heading, Picture, Table, Text

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; margin: 2em auto; padding: 0 1em; max-width: 1200px }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px }
th, td { border-bottom: 1px solid #d8dee4; padding: .25em .7em; text-align: left }
th { border-bottom-color: #1b1f24; vertical-align: bottom }
.number { text-align: right; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
img { max-width: 100% }
"""


def markdown(blocks: Iterable[Block], pictures: Iterable[str]) -> str:
    """The report as Markdown, its pictures being files NAME.png beside it."""
    known, parts = set(pictures), []
    for block in blocks:
        match block:
            case Heading(level, text):
                parts.append(f"{'#' * level} {text}")
            case Text(text):
                parts.append(text)
            case Table(head, rows, left):
                parts.append(table([*head], [[*row] for row in rows], left))
            case Picture(name, text) if name in known:
                parts.append(f"![{text}]({name}.png)")
    return "\n\n".join(parts) + "\n"


def html(blocks: Iterable[Block], pictures: Mapping[str, bytes]) -> str:
    """The report as one page: style and pictures are inside."""
    title, parts = "", []
    for block in blocks:
        match block:
            case Heading(level, text):
                title = title or text
                parts.append(f"<h{level}>{escape(text)}</h{level}>")
            case Text(text):
                parts.append(f"<p>{escape(text)}</p>")
            case Table():
                parts.append(_html_table(block))
            case Picture(name, text) if name in pictures:
                data = b64encode(pictures[name]).decode()
                parts.append(f'<p><img alt="{escape(text)}" src="data:image/png;base64,{data}"></p>')
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _html_table(block: Table) -> str:
    def row(cells: Iterable[str], tag: str) -> str:
        kinds = ("" if i < block.left else ' class="number"' for i in range(len(block.head)))
        inside = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    lines = [row(block.head, "th"), *(row(cells, "td") for cells in block.rows)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"
