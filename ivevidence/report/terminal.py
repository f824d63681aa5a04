"""Text for a terminal: columns that align, and no control characters from data."""

import unicodedata
from collections.abc import Sequence

from ivevidence.figures.svg import visible_text
from ivevidence.figures.text import GLYPHS

_COLORS = {"bold": "1", "red": "31", "yellow": "33"}


def aligned(rows: Sequence[Sequence[str]], *, indent: int = 0) -> list[str]:
    """Return each row as a line, its entries below those of the row before.

    The last entry of a row has room to its right, and widens no column.
    """
    shown = [[visible_text(entry) for entry in row] for row in rows]
    widths: dict[int, int] = {}
    for row in shown:
        for k, entry in enumerate(row[:-1]):
            widths[k] = max(widths.get(k, 0), width(entry))
    return [
        " " * indent
        + "  ".join(_padded(entry, widths.get(k, 0)) for k, entry in enumerate(row)).rstrip()
        for row in shown
    ]


def _padded(entry: str, columns: int) -> str:
    return entry + " " * (columns - width(entry))


def width(text: str) -> int:
    """Return how many columns a text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.category(character) in ("Mn", "Me", "Cf") for character in text)
    return len(text) + wide - marks


def painted(line: str, style: str, *, color: bool) -> str:
    """Return a line in a style of `_COLORS`; without `color`, in none."""
    shown = visible_text(line)
    return f"\033[{_COLORS[style]}m{shown}\033[0m" if color else shown


def verdict_text(verdict: str) -> str:
    """Return a verdict as glyph and word."""
    return f"{GLYPHS[verdict]} {verdict.replace('_', ' ')}"
