"""Level bars, a row a category."""

from collections.abc import Callable
from typing import Any

from ivevidence.figures.axes import (
    Entry,
    PowersOfTen,
    Rows,
    Scale,
    canvas_with_legend,
    clamped,
    draw_threshold,
    level_axis,
    padded,
    powers_of_ten,
    stroke,
    threshold_entry,
)
from ivevidence.figures.colors import SERIES, draw_bar
from ivevidence.figures.data import Bars
from ivevidence.figures.svg import INK, Canvas
from ivevidence.figures.text import format_number, largest

_TOP, _WIDTH = 10.0, 260.0
_PALE: dict[str, Any] = {"color": INK, "alpha": 0.16}


def draw_bars(title: str, bars: Bars) -> str:
    """Draw `Bars`."""
    side_by_side = 1 if bars.overlaid else max(len(bars.series), 1)
    thick = clamped(22 / side_by_side, 6, 9)
    step = side_by_side * thick + (8 if side_by_side > 1 else 4)
    rows = Rows.of(bars.categories, step, top=_TOP, marks=bars.marks)
    right = rows.left + _WIDTH
    several: list[Entry] = [(_sample(bars, k), s.name) for k, s in enumerate(bars.series)]
    entries = [*(several if len(several) > 1 else ()), *threshold_entry(bars.threshold)]
    canvas = canvas_with_legend(right, rows.foot + 32, _TOP, entries)
    x = _scale(bars, rows.left, right)
    rows.draw(canvas, right)
    level_axis(canvas, x, rows.top, rows.foot, bars.unit)
    for row in range(len(bars.categories)):
        for k in range(len(bars.series)):
            aside = 0.0 if bars.overlaid else (k - (side_by_side - 1) / 2) * thick
            wide = bars.overlaid and k == 0
            _draw_one(canvas, bars, k, row, x, (rows.y(row) + aside, thick + 2 * wide))
    if bars.threshold is not None:
        place = x(bars.threshold)
        draw_threshold(canvas, (place, rows.top), (place, rows.foot))
    return canvas.svg(_describe(title, bars))


def _scale(bars: Bars, left: float, right: float) -> Scale | PowersOfTen:
    numbers = [0.0, *(number for series in bars.series for number in series.drawn)]
    numbers += [number for number in (bars.threshold, *(bars.limits or ())) if number is not None]
    return (powers_of_ten if bars.log else padded)(numbers, start=left, end=right)


def _draw_one(
    canvas: Canvas,
    bars: Bars,
    index: int,
    row: int,
    x: Scale | PowersOfTen,
    place: tuple[float, float],
) -> None:
    value, interval = bars.series[index].values[row], bars.series[index].intervals[row]
    (y, thick), pale = place, bars.overlaid and index == 0
    if value and pale:
        canvas.line([(x(0), y), (x(value), y)], width=thick, **_PALE)
    elif value:
        draw_bar(canvas, y, (x(0), x(value)), thick * 0.86, index - bars.overlaid)
    if interval is not None:
        canvas.line([(x(interval[0]), y), (x(interval[1]), y)], width=1.2)
    if index in _without_bar(bars, row):
        end = x(max(interval[1], 0.0) if interval else 0.0)
        color = INK if pale else SERIES[index - bars.overlaid]
        said = format_number(value)
        canvas.text(end + 3, y, said, middle=True, size=7, bold=True, color=color)


def _without_bar(bars: Bars, row: int) -> list[int]:
    """The series with 0, or no value, to be written where a bar would be."""
    values = [series.values[row] for series in bars.series]
    if not bars.overlaid:
        return [k for k, value in enumerate(values) if not value]
    zeros = [k for k, value in enumerate(values) if value == 0]
    return zeros[:1] or ([] if any(values) else [0])


def _sample(bars: Bars, index: int) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        draw_bar(canvas, y, (x - 9, x + 9), 8, index - bars.overlaid)

    return stroke(width=8, **_PALE) if bars.overlaid and index == 0 else draw


def _describe(title: str, bars: Bars) -> str:
    said = [f"{s.name}: {largest(s.values, bars.categories)}" for s in bars.series]
    for row, mark in sorted(bars.marks.items()):
        values = (f"{series.name} {format_number(series.values[row])}" for series in bars.series)
        said.append(f"{mark} is {bars.categories[row]!r}: {', '.join(values)}")
    return f"Bars: {title}. {'; '.join(said)}."
