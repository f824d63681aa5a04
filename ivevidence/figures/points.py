"""Points in two dimensions by class."""

from collections.abc import Callable

from ivevidence.figures.axes import (
    Entry,
    canvas_with_legend,
    level_axis,
    padded,
    upright_axis,
)
from ivevidence.figures.colors import SERIES, marker
from ivevidence.figures.data import Points
from ivevidence.figures.svg import INK, Canvas

_LEFT, _TOP, _SIDE = 48.0, 12.0, 240.0


def draw_points(title: str, points: Points) -> str:
    """Draw `Points`."""
    right, foot = _LEFT + _SIDE, _TOP + _SIDE
    known = [point for each in points.classes for point in (*each.points, *each.hollow)]
    radius = 3.0 if len(known) <= 400 else 2.2
    entries: list[Entry] = [(_sample(k, SERIES[k]), c.name) for k, c in enumerate(points.classes)]
    if any(each.hollow for each in points.classes):
        entries.append((_sample(0, INK), f"filled: {points.filled}"))
        entries.append((_sample(0, INK, hollow=True), f"hollow: {points.hollow}"))
    canvas = canvas_with_legend(right, foot + 32, _TOP, entries)
    x = padded([point[0] for point in known], start=_LEFT, end=right)
    y = padded([point[1] for point in known], start=foot, end=_TOP)
    canvas.rect(_LEFT, _TOP, _SIDE, _SIDE, None, edge=INK, line=0.6, alpha=0.35)
    upright_axis(canvas, y, _LEFT, right, points.y_label)
    level_axis(canvas, x, _TOP, foot, points.x_label)
    for k, each in enumerate(points.classes):
        filled = "".join(marker(k, x(u), y(v), radius) for u, v in each.points)
        canvas.path(filled, SERIES[k], alpha=0.7)
    for k, each in enumerate(points.classes):
        hollow = "".join(marker(k, x(u), y(v), radius) for u, v in each.hollow)
        canvas.path(hollow, stroke=SERIES[k])
    counts = "; ".join(f"{c.name}: {len(c.points)} and {len(c.hollow)}" for c in points.classes)
    return canvas.svg(f"Points: {title}. Filled and hollow ones: {counts}.")


def _sample(
    index: int, color: str, *, hollow: bool = False
) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        outlined = color if hollow else None
        canvas.path(marker(index, x, y, 3.2), None if hollow else color, stroke=outlined)

    return draw
