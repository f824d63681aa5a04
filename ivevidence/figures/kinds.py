"""Figures from data: the table of kinds and how each is drawn."""

from collections.abc import Callable
from typing import Any

from ivevidence.figures.bars import draw_bars
from ivevidence.figures.data import FIGURE_DATA
from ivevidence.figures.intervals import draw_intervals
from ivevidence.figures.lines import draw_lines
from ivevidence.figures.matrix import draw_matrix
from ivevidence.figures.points import draw_points
from ivevidence.records.cells import Figure


def draw(figure: Figure) -> str:
    """Return the figure as one `<svg>` element that can stand in any page.

    The same data give the same text, byte for byte. Title and caption are left to the page.
    """
    return _DRAWERS[figure.kind](figure.title, FIGURE_DATA[figure.kind].from_json(figure.data))


_DRAWERS: dict[str, Callable[[str, Any], str]] = {
    "matrix": draw_matrix,
    "bars": draw_bars,
    "lines": draw_lines,
    "points": draw_points,
    "intervals": draw_intervals,
}
