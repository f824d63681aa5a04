"""Lines over an ordered axis, with bands; over values or over named levels."""

from collections.abc import Callable, Sequence
from itertools import groupby

from ivevidence.figures.axes import (
    LABEL_SIZE,
    Entry,
    Rows,
    Scale,
    canvas_with_legend,
    clamped,
    draw_threshold,
    padded,
    stroke,
    threshold_entry,
    upright_axis,
)
from ivevidence.figures.colors import DASHES, SERIES, marker
from ivevidence.figures.data import Lines
from ivevidence.figures.series import Series
from ivevidence.figures.svg import Canvas, outline
from ivevidence.figures.text import format_number, largest, shorten, text_width

_LEFT, _TOP, _HEIGHT, _WIDTH = 48.0, 12.0, 170.0, 300.0
_TALLEST = 400.0

Place = Callable[[float], float]


def draw_lines(title: str, lines: Lines) -> str:
    """Draw `Lines`."""
    step = clamped(_TALLEST / max(len(lines.levels), 1), 12, 20)
    rows = Rows.of(lines.levels, step, top=_TOP, marks=lines.marks)
    left, foot = (rows.left, rows.foot) if lines.levels else (_LEFT, _TOP + _HEIGHT)
    right = left + _WIDTH
    entries: list[Entry] = [(_sample(lines, k), s.name) for k, s in enumerate(lines.series)]
    entries += threshold_entry(lines.threshold)
    canvas = canvas_with_legend(right, foot + 32, _TOP, entries)
    x, y = _x_axis(canvas, lines, left, right, foot), padded(_drawn(lines), start=foot, end=_TOP)
    if lines.levels:
        rows.draw(canvas, right)
        for k in range(len(lines.levels)):
            canvas.line([(left, rows.y(k)), (right, rows.y(k))], width=0.5, alpha=0.25)
        canvas.upright(9, (_TOP + foot) / 2, shorten(lines.unit, 34))
    else:
        upright_axis(canvas, y, left, right, lines.unit)
    place = rows.y if lines.levels else y
    for k, series in enumerate(lines.series):
        _draw_band(canvas, series, [x(value) for value in lines.x], place, SERIES[k])
    if lines.threshold is not None:
        height = place(lines.threshold)
        draw_threshold(canvas, (left, height), (right, height))
    for k in reversed(range(len(lines.series))):
        places = [x(value) for value in lines.x]
        beside = 0.8 * step * ((k + 0.5) / len(lines.series) - 0.5) if lines.levels else None
        _draw_line(canvas, lines.series[k], k, places, place, beside)
    return canvas.svg(_describe(title, lines))


def _drawn(lines: Lines) -> list[float]:
    """All numbers that the upright axis has to reach."""
    numbers = [number for series in lines.series for number in series.drawn]
    numbers += [number for number in (lines.threshold, *(lines.limits or ())) if number is not None]
    return numbers


def _x_axis(canvas: Canvas, lines: Lines, left: float, right: float, foot: float) -> Scale:
    """Write the values of x, as many as there is room for, and what they are."""
    x = Scale(*((lines.x[0], lines.x[-1]) if lines.x else (0.0, 0.0)), left + 14, right - 14)
    free = left
    for value in lines.x:
        label = format_number(value)
        if x(value) - text_width(label, LABEL_SIZE) / 2 >= free:
            canvas.text(x(value), foot + 12, label, anchor="middle", size=LABEL_SIZE)
            free = x(value) + text_width(label, LABEL_SIZE) / 2 + 5
    middle, said = (left + right) / 2, shorten(lines.x_label, 40)
    canvas.text(middle, foot + 26, said, anchor="middle", alpha=0.7, size=LABEL_SIZE)
    return x


def _draw_band(
    canvas: Canvas, series: Series, places: Sequence[float], y: Place, color: str
) -> None:
    """Draw the intervals as a band, or as a whisker where there is no neighbour."""
    known = zip(places, series.intervals, strict=True)
    for missing, group in groupby(known, key=lambda entry: entry[1] is None):
        bounds = [] if missing else [(x, y(b[0]), y(b[1])) for x, b in group if b is not None]
        if len(bounds) == 1:
            x, low, high = bounds[0]
            canvas.line([(x, low), (x, high)], color, width=1.2)
        elif bounds:
            upper = [(x, high) for x, _, high in bounds]
            lower = [(x, low) for x, low, _ in reversed(bounds)]
            canvas.path(outline(upper + lower, closed=True), color, alpha=0.14)


def _draw_line(
    canvas: Canvas,
    series: Series,
    index: int,
    places: Sequence[float],
    y: Place,
    shift: float | None,
) -> None:
    """Draw the series, broken where there is no value: with markers, or by `shift` beside others.

    It goes aside and down alike: neither level nor slanted parts of two lines coincide.
    """
    down = shift or 0.0
    points = [(x + 0.5 * down, v) for x, v in zip(places, series.values, strict=True)]
    runs = ""
    for _, group in groupby(points, key=lambda point: point[1] is None):
        runs += outline([(x, y(v) + down) for x, v in group if v is not None])
    canvas.path(runs, stroke=SERIES[index], width=1.5 if shift is None else 1.1, dash=DASHES[index])
    if shift is None:
        marks = [marker(index, x, y(v), 2.6) for x, v in points if v is not None]
        canvas.path("".join(marks), SERIES[index])


def _sample(lines: Lines, index: int) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        stroke(SERIES[index], width=1.5, dash=DASHES[index])(canvas, x, y)
        if not lines.levels:
            canvas.path(marker(index, x, y, 2.6), SERIES[index])

    return draw


def _describe(title: str, lines: Lines) -> str:
    names = [f"{lines.x_label} {format_number(value)}" for value in lines.x]
    said = [f"{series.name}: {largest(series.values, names)}" for series in lines.series]
    if lines.levels:
        said = [f"{series.name}: through {_way(series, lines)}" for series in lines.series]
    return f"Lines: {title}. {'; '.join(said)}."


def _way(series: Series, lines: Lines) -> str:
    """The levels that a line comes through, each said once."""
    passed = dict.fromkeys(round(value) for value in series.values if value is not None)
    return ", ".join(repr(lines.levels[level]) for level in passed)
