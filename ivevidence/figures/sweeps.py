"""Figures of patching: heat maps over layers, bars per token, intervals against thresholds."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivevidence.figures.axes import TokenAxis, grid_line
from ivevidence.figures.colors import (
    ACCENT,
    BAR,
    EDGE,
    cell_pixels,
    colorbar,
    hex_color,
    scale_colors,
    text_colors,
)
from ivevidence.figures.data import Criterion, Heatmap, Intervals, Positions
from ivevidence.figures.svg import INK, Canvas
from ivevidence.figures.text import format_number, shorten, two_digits

OUTCOME_COLORS = {"beyond": "#00897b", "short": "#d1551c", "open": "#b08500"}
OUTCOME_WORDS = {"beyond": "beyond", "short": "short of it", "open": "open"}

_MOST_LABELLED, _MOST_NUMBERED = 16, 8
_SMALL = 7.0


def draw_heatmap(title: str, data: Any) -> str:
    """Draw a `Heatmap`."""
    heatmap = Heatmap.from_json(data)
    count = len(heatmap.layers)
    left, top, side = 34.0, 8.0, 222.0
    cell = side / max(count, 1)
    canvas = Canvas(left + side + 74, top + side + 36)
    drawn = [value for row in _upper(heatmap) for *_, value in row if value is not None]
    limit = heatmap.limit or max(map(abs, drawn), default=0.0) or 1.0
    if count <= _MOST_LABELLED:
        _draw_cells(canvas, heatmap, left, top, cell, limit)
    else:
        canvas.image(left, top, side, side, _pixels(heatmap, limit))
    for i, j in heatmap.highlight:
        row, column = sorted((heatmap.layers.index(i), heatmap.layers.index(j)))
        x, y = left + column * cell, top + row * cell
        for color, width in (("#ffffff", 3.4), ("#10151a", 1.6)):
            canvas.rect(x, y, cell, cell, None, edge=color, line=width)
    step = max(1, -(-count // _MOST_LABELLED))
    for k in range(0, count, step):
        middle = (k + 0.5) * cell
        canvas.text(left + middle, top + side + 12, str(heatmap.layers[k]), anchor="middle")
        canvas.text(left - 6, top + middle + 3, str(heatmap.layers[k]), anchor="end")
    canvas.text(left + side / 2, top + side + 27, "layer j", anchor="middle", alpha=0.7)
    canvas.upright(11, top + side / 2, "layer i")
    colorbar(canvas, left + side + 14, top, side, (-limit, limit), heatmap.unit)
    return canvas.svg(_describe_heatmap(title, heatmap))


def _upper(heatmap: Heatmap) -> Iterator[list[tuple[int, int, float | None]]]:
    for i, row in enumerate(heatmap.values):
        yield [(i, j, row[j]) for j in range(i, len(row))]


def _draw_cells(
    canvas: Canvas, heatmap: Heatmap, left: float, top: float, cell: float, limit: float
) -> None:
    rgb = scale_colors(np.array(heatmap.values, dtype=float) / limit)
    inks = text_colors(rgb)
    for i, j, value in (entry for row in _upper(heatmap) for entry in row):
        x, y = left + j * cell, top + i * cell
        if value is None:
            canvas.rect(x, y, cell, cell, INK, alpha=0.08)
            continue
        canvas.rect(x, y, cell, cell, hex_color(rgb[i, j]), edge=EDGE, line=0.4)
        if len(heatmap.layers) <= _MOST_NUMBERED:
            place = (x + cell / 2, y + cell / 2 + 3)
            canvas.text(*place, two_digits(value), anchor="middle", size=8, color=inks[i, j])


def _pixels(heatmap: Heatmap, limit: float) -> np.ndarray:
    values = np.array(heatmap.values, dtype=float)
    pixels = cell_pixels(values / limit)
    pixels[..., 3] *= np.triu(np.ones(values.shape))
    return pixels


def _describe_heatmap(title: str, heatmap: Heatmap) -> str:
    entries = [entry for row in _upper(heatmap) for entry in row if entry[2] is not None]
    if not entries:
        return f"Heat map: {title}. No values."
    i, j, value = max(entries, key=lambda entry: entry[2] or 0.0)
    layers = heatmap.layers
    where = f"layer {layers[i]}" if i == j else f"layers {layers[i]} and {layers[j]}"
    return f"Heat map: {title}. Largest value {format_number(value)} at {where}."


def draw_positions(title: str, data: Any) -> str:
    """Draw `Positions`."""
    positions = Positions.from_json(data)
    marks = {} if positions.t_inst is None else {positions.t_inst: ("T_inst", ACCENT)}
    axis = TokenAxis.of(positions.tokens, marks)
    top, height, width = 12.0, 140.0, axis.step * 2 / 3
    canvas = Canvas(axis.right + 16, top + height + axis.below)
    numbers = (*positions.values, *positions.lows, *positions.highs, 0.0)
    drawn = [value for value in numbers if value is not None]
    low, high = min(drawn), max(drawn)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return top + height * (high - value) / span

    for value in sorted({low, 0.0, high}):
        grid_line(canvas, y(value), axis.left, axis.right, format_number(value), strong=not value)
    canvas.upright(9, top + height / 2, positions.unit)
    for k, mean in enumerate(positions.values):
        color = ACCENT if k == positions.t_inst else BAR
        if mean is not None:
            height_k = abs(y(mean) - y(0))
            canvas.rect(axis.x(k) - width / 2, min(y(mean), y(0)), width, height_k, color)
        if (bottom := positions.lows[k]) is not None and (peak := positions.highs[k]) is not None:
            canvas.line([(axis.x(k), y(bottom)), (axis.x(k), y(peak))], width=1.2)
    axis.draw(canvas, top + height)
    return canvas.svg(_describe_positions(title, positions))


def _describe_positions(title: str, positions: Positions) -> str:
    if positions.t_inst is None:
        return f"Bars per token: {title}."
    token, value = positions.tokens[positions.t_inst], positions.values[positions.t_inst]
    return f"Bars per token: {title}. T_inst is {token!r} with {format_number(value)}."


def draw_intervals(title: str, data: Any) -> str:
    """Draw `Intervals`."""
    criteria = Intervals.from_json(data).criteria
    left, middle, right, row = 12.0, 150.0, 288.0, 40.0
    foot = 12 + row * len(criteria)
    canvas = Canvas(300, foot + 16)
    if criteria:
        canvas.rect(middle, 12, right - middle, foot - 12, "#00897b", alpha=0.09)
        canvas.line([(middle, 8), (middle, foot)])
        canvas.text(middle - 5, 9, "short of threshold", anchor="end", size=_SMALL, alpha=0.7)
        canvas.text(middle + 5, 9, "beyond", size=_SMALL, alpha=0.7)
    for k, criterion in enumerate(criteria):
        _draw_interval(canvas, criterion, 12 + row * k, (left, middle, right))
    said = (f"{c.name}: {format_number(c.estimate)}, {c.outcome}" for c in criteria)
    return canvas.svg(f"Intervals against thresholds: {title}. {'; '.join(said)}.")


def _draw_interval(
    canvas: Canvas, criterion: Criterion, top: float, edges: tuple[float, float, float]
) -> None:
    """Draw one row on a scale of its own, the threshold in the middle."""
    left, middle, right = edges
    threshold, color = criterion.threshold, OUTCOME_COLORS[criterion.outcome]
    known = [v for v in (criterion.low, criterion.estimate, criterion.high) if v is not None]
    reach = 1.12 * max((abs(v - threshold) for v in known), default=0.0) or 1.0

    def x(value: float) -> float:
        return middle + (value - threshold) / reach * (right - middle)

    y = top + 27
    low = left if criterion.low is None else x(criterion.low)
    high = right if criterion.high is None else x(criterion.high)
    canvas.text(left, top + 13, shorten(criterion.name, 34), bold=True, size=8)
    word = OUTCOME_WORDS[criterion.outcome]
    canvas.text(right, top + 13, word, anchor="end", size=8)
    if known:
        canvas.line([(low, y), (high, y)], color, width=3)
        for end, bound in ((low, criterion.low), (high, criterion.high)):
            if bound is not None:
                canvas.line([(end, y - 4), (end, y + 4)], color, width=1.4)
    if criterion.estimate is not None:
        canvas.dot(x(criterion.estimate), y, 3.6, color)
    bounds = f"[{format_number(criterion.low)}, {format_number(criterion.high)}]"
    small: dict[str, Any] = {"anchor": "end", "size": _SMALL, "alpha": 0.8}
    canvas.text(middle - 5, y + 12, format_number(threshold), **small)
    canvas.text(right, y + 12, f"{format_number(criterion.estimate)} {bounds}", **small)
