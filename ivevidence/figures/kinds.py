"""Figures from data: the table of kinds and how each is drawn."""

from collections.abc import Callable
from typing import Any

from ivevidence.compare.history_figures import draw_history
from ivevidence.figures.charts import draw_grouped_bars, draw_lines, draw_scatter
from ivevidence.figures.heads import draw_head_maps
from ivevidence.figures.paths import draw_path_bars, draw_trajectories
from ivevidence.figures.sweeps import draw_heatmap, draw_intervals, draw_positions
from ivevidence.records.cells import Figure


def draw(figure: Figure) -> str:
    """Return the figure as one `<svg>` element that can stand in any page.

    The same data give the same text, byte for byte. Title and caption are left to the page.
    """
    return _DRAWERS[figure.kind](figure.title, figure.data)


_DRAWERS: dict[str, Callable[[str, Any], str]] = {
    "heatmap": draw_heatmap,
    "positions": draw_positions,
    "intervals": draw_intervals,
    "path_bars": draw_path_bars,
    "head_maps": draw_head_maps,
    "trajectories": draw_trajectories,
    "lines": draw_lines,
    "scatter": draw_scatter,
    "grouped_bars": draw_grouped_bars,
    "history": draw_history,
}
