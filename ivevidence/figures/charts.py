"""Charts: lines over layers, scattered points by class, grouped bars."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from ivevidence.figures.axes import (
    LABEL_SIZE,
    LEGEND_ROW,
    Entry,
    Scale,
    draw_legend,
    legend_width,
    no_bar,
    padded,
    stroke,
    ticks,
    value_axis,
)
from ivevidence.figures.chart_data import GroupedBars, Lines, Scatter, Series
from ivevidence.figures.colors import DASHES, SERIES, draw_bar, marker
from ivevidence.figures.svg import INK, Canvas, outline
from ivevidence.figures.text import NO_VALUE, format_number, shorten, text_width

_LEFT, _TOP, _HEIGHT = 48.0, 12.0, 170.0
_FOOT = _TOP + _HEIGHT
_THRESHOLD: dict[str, Any] = {"width": 1.2, "dash": "5 3", "alpha": 0.8}


def draw_lines(title: str, data: Any) -> str:
    """Draw `Lines`."""
    lines = Lines.from_json(data)
    right = _LEFT + 300
    entries = [(_line_sample(k), series.name) for k, series in enumerate(lines.series)]
    entries += _threshold_entry(lines.threshold)
    canvas = _chart_canvas(right, _FOOT + 32, entries)
    y = padded(_drawn(lines), start=_FOOT, end=_TOP)
    value_axis(canvas, y, _LEFT, right, lines.unit)
    first, last = (lines.x[0], lines.x[-1]) if lines.x else (0, 0)
    x = Scale(first - 0.5, last + 0.5, _LEFT, right)
    for value in ticks(first, last, most=16):
        if lines.x and value == int(value):
            canvas.text(x(value), _FOOT + 12, f"{value:.0f}", anchor="middle", size=LABEL_SIZE)
    canvas.text((_LEFT + right) / 2, _FOOT + 26, lines.x_label, anchor="middle", alpha=0.7)
    places = [x(value) for value in lines.x]
    for k, series in enumerate(lines.series):
        _draw_band(canvas, series, places, y, SERIES[k])
    _draw_threshold(canvas, lines.threshold, y, _LEFT, right)
    for k, series in reversed(list(enumerate(lines.series))):
        _draw_line(canvas, series, places, y, k)
    return canvas.svg(_describe_series("Lines", title, lines.x_label, lines.x, lines.series))


def _chart_canvas(right: float, height: float, entries: Sequence[Entry]) -> Canvas:
    """Return a canvas with its legend drawn to the right of a plot that ends at `right`."""
    height = max(height, _TOP + LEGEND_ROW * len(entries) + 4)
    canvas = Canvas(right + 16 + legend_width(entries), height)
    draw_legend(canvas, right + 14, _TOP, entries)
    return canvas


def _drawn(record: Lines | GroupedBars) -> list[float]:
    """All numbers that the upright axis has to reach."""
    numbers = [number for s in record.series for number in (*s.values, *s.lows, *s.highs)]
    numbers += [record.threshold, *(record.limits or ())]
    return [number for number in numbers if number is not None]


def _draw_band(
    canvas: Canvas, series: Series, places: Sequence[float], y: Scale, color: str
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
    canvas: Canvas, series: Series, places: Sequence[float], y: Scale, index: int
) -> None:
    """Draw the series, broken where there is no value, with markers."""
    points = [(x, v) for x, v in zip(places, series.values, strict=True)]
    runs = ""
    for _, group in groupby(points, key=lambda point: point[1] is None):
        runs += outline([(x, y(v)) for x, v in group if v is not None])
    canvas.path(runs, stroke=SERIES[index], width=1.5, dash=DASHES[index])
    marks = [marker(index, x, y(v), 2.6) for x, v in points if v is not None]
    canvas.path("".join(marks), SERIES[index])


def _line_sample(index: int) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        stroke(SERIES[index], width=1.5, dash=DASHES[index])(canvas, x, y)
        canvas.path(marker(index, x, y, 2.6), SERIES[index])

    return draw


def _threshold_entry(threshold: float | None) -> list[Entry]:
    if threshold is None:
        return []
    return [(stroke(INK, **_THRESHOLD), f"threshold {format_number(threshold)}")]


def _draw_threshold(
    canvas: Canvas, threshold: float | None, y: Scale, left: float, right: float
) -> None:
    if threshold is not None:
        canvas.line([(left, y(threshold)), (right, y(threshold))], **_THRESHOLD)


def _describe_series(
    kind: str, title: str, of: str, names: Sequence[int | str], series: Sequence[Series]
) -> str:
    said = []
    for one in series:
        known = [(v, name) for v, name in zip(one.values, names, strict=True) if v is not None]
        value, name = max(known, key=lambda entry: entry[0], default=(None, NO_VALUE))
        said.append(f"{one.name}: largest {format_number(value)} at {of} {name}")
    return f"{kind}: {title}. {'; '.join(said)}."


def draw_scatter(title: str, data: Any) -> str:
    """Draw a `Scatter`."""
    scatter = Scatter.from_json(data)
    side = 240.0
    right, foot = _LEFT + side, _TOP + side
    groups = [(k, c.points, c.held_out) for k, c in enumerate(scatter.classes)]
    known = [point for _, fitted, held_out in groups for point in (*fitted, *held_out)]
    radius = 3.0 if len(known) <= 400 else 2.2
    entries: list[Entry] = [
        (_point_sample(k, SERIES[k]), c.name) for k, c in enumerate(scatter.classes)
    ]
    if any(held_out for *_, held_out in groups):
        entries.append((_point_sample(0, INK), "filled: fitted"))
        entries.append((_point_sample(0, INK, hollow=True), "hollow: held out"))
    canvas = _chart_canvas(right, foot + 32, entries)
    x = padded([point[0] for point in known], start=_LEFT, end=right)
    y = padded([point[1] for point in known], start=foot, end=_TOP)
    canvas.rect(_LEFT, _TOP, side, side, None, edge=INK, line=0.6, alpha=0.35)
    value_axis(canvas, y, _LEFT, right, scatter.y_label)
    for value in ticks(x.low, x.high):
        alpha = 0.25 if value else 0.9
        canvas.line([(x(value), foot), (x(value), _TOP)], width=0.6, alpha=alpha)
        label = format_number(value)
        canvas.text(x(value), foot + 12, label, anchor="middle", size=LABEL_SIZE)
    canvas.text((_LEFT + right) / 2, foot + 26, scatter.x_label, anchor="middle", alpha=0.7)
    for k, fitted, _ in groups:
        d = "".join(marker(k, x(u), y(v), radius) for u, v in fitted)
        canvas.path(d, SERIES[k], alpha=0.7)
    for k, _, held_out in groups:
        d = "".join(marker(k, x(u), y(v), radius) for u, v in held_out)
        canvas.path(d, stroke=SERIES[k])
    counts = (f"{c.name}: {len(c.points)} and {len(c.held_out)}" for c in scatter.classes)
    return canvas.svg(f"Scatter: {title}. Points fitted and held out: {'; '.join(counts)}.")


def _point_sample(
    index: int, color: str, *, hollow: bool = False
) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        outlined = color if hollow else None
        canvas.path(marker(index, x, y, 3.2), None if hollow else color, stroke=outlined)

    return draw


def draw_grouped_bars(title: str, data: Any) -> str:
    """Draw `GroupedBars`."""
    bars = GroupedBars.from_json(data)
    count, groups = max(len(bars.series), 1), max(len(bars.categories), 1)
    width = min(16.0, max(4.0, 560 / groups / (count + 1)))
    group = max((count + 1) * width, min(40.0, 640 / groups))
    names = [shorten(name, 24) for name in bars.categories]
    widest = max((text_width(name, LABEL_SIZE) for name in names), default=0.0)
    slanted = widest > group - 4
    left = max(_LEFT, 0.57 * widest - group / 2) if slanted else _LEFT
    right = left + groups * group
    below = 16 + 0.82 * widest if slanted else 20
    entries: list[Entry] = [(_bar_sample(k), s.name) for k, s in enumerate(bars.series)]
    entries += _threshold_entry(bars.threshold)
    canvas = _chart_canvas(right, _FOOT + below, entries)
    y = padded([*_drawn(bars), 0.0], start=_FOOT, end=_TOP)
    value_axis(canvas, y, left, right, bars.unit)
    for c, name in enumerate(names):
        middle = left + (c + 0.5) * group
        for k, series in enumerate(bars.series):
            place = middle + (k - (count - 1) / 2) * width
            _draw_value(canvas, series, c, y, (place, width), k)
        style: dict[str, Any] = {"anchor": "middle"}
        if slanted:
            style = {"anchor": "end", "angle": 55, "middle": True}
        canvas.text(middle, _FOOT + (10 if slanted else 13), name, size=LABEL_SIZE, **style)
    _draw_threshold(canvas, bars.threshold, y, left, right)
    said = _describe_series("Bars", title, "", bars.categories, bars.series)
    return canvas.svg(said)


def _draw_value(
    canvas: Canvas,
    series: Series,
    category: int,
    y: Scale,
    place: tuple[float, float],
    index: int,
) -> None:
    value, interval, (x, width) = series.values[category], series.intervals[category], place
    if value:
        draw_bar(canvas, x, (y(0), y(value)), width * 0.86, index)
    if interval is not None:
        canvas.line([(x, y(interval[0])), (x, y(interval[1]))], width=1.2)
    if not value:
        no_bar(canvas, x, y(max(interval[1], 0.0) if interval else 0.0), value, SERIES[index])


def _bar_sample(index: int) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        draw_bar(canvas, x, (y + 5, y - 5), 14, index)

    return draw
