"""Figures from data: heat maps over layers, bars per token, intervals against thresholds."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ivevidence.figure_data import Criterion, Heatmap, Intervals, Positions
from ivevidence.records import Figure
from ivevidence.svg import INK, Canvas, visible_token

OUTCOME_COLORS = {"beyond": "#00897b", "short": "#d1551c", "open": "#b08500"}
OUTCOME_WORDS = {"beyond": "beyond", "short": "short of it", "open": "open"}
ACCENT, BAR = "#d1551c", "#6d87a8"

# Negative to positive through white; told apart by all common kinds of color vision.
_DIVERGING = ("#7f3b08", "#d1701c", "#f5c08a", "#ffffff", "#a9cbe8", "#3b7fc0", "#0b3c78")
MINUS, NO_VALUE = "\N{MINUS SIGN}", "\N{EN DASH}"

_MOST_LABELLED, _MOST_NUMBERED = 16, 8
_SMALL = 7.0


# Anchored in the text's middle: the browser's font is not as wide as matplotlib's.
_UPRIGHT: dict[str, Any] = {"ha": "center", "rotation": 90, "rotation_mode": "anchor", "alpha": 0.7}


def draw(figure: Figure) -> str:
    """Return the figure as one `<svg>` element that can stand in any page.

    The same data give the same text, byte for byte. Title and caption are left to the page.
    """
    return _DRAWERS[figure.kind](figure.title, figure.data)


def format_number(value: float | None) -> str:
    """Return a number with three significant digits and a true minus sign; a dash for None."""
    if value is None:
        return NO_VALUE
    text = f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.3g}"
    return text.replace("-", MINUS)


def two_digits(value: float | None) -> str:
    """Return a number with two decimals, for where there is little room; a dash for None."""
    if value is None:
        return NO_VALUE
    if value == 0 or abs(value) >= 10:
        return format_number(value)
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def _draw_heatmap(title: str, data: Any) -> str:
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
            canvas.rect(x, y, cell, cell, None, edgecolor=color, linewidth=width, zorder=4)
    step = max(1, -(-count // _MOST_LABELLED))
    for k in range(0, count, step):
        middle = (k + 0.5) * cell
        canvas.text(left + middle, top + side + 12, str(heatmap.layers[k]), ha="center")
        canvas.text(left - 6, top + middle + 3, str(heatmap.layers[k]), ha="right")
    canvas.text(left + side / 2, top + side + 27, "layer j", ha="center", alpha=0.7)
    canvas.text(11, top + side / 2, "layer i", **_UPRIGHT)
    _draw_colorbar(canvas, left + side + 14, top, side, limit, heatmap.unit)
    return canvas.svg(_describe_heatmap(title, heatmap))


def _upper(heatmap: Heatmap) -> Iterator[list[tuple[int, int, float | None]]]:
    for i, row in enumerate(heatmap.values):
        yield [(i, j, row[j]) for j in range(i, len(row))]


def _draw_cells(
    canvas: Canvas, heatmap: Heatmap, left: float, top: float, cell: float, limit: float
) -> None:
    for i, j, value in (entry for row in _upper(heatmap) for entry in row):
        x, y = left + j * cell, top + i * cell
        if value is None:
            canvas.rect(x, y, cell, cell, INK, alpha=0.08)
            continue
        rgb = _colors(np.array(value / limit))
        canvas.rect(x, y, cell, cell, _hex(rgb), edgecolor="#8a93a0", linewidth=0.4)
        if len(heatmap.layers) <= _MOST_NUMBERED:
            color = "#ffffff" if rgb @ (0.3, 0.59, 0.11) < 0.55 else "#1a1f26"
            place = (x + cell / 2, y + cell / 2 + 3)
            canvas.text(*place, two_digits(value), ha="center", size=_SMALL + 1, color=color)


def _pixels(heatmap: Heatmap, limit: float) -> np.ndarray:
    values = np.array(heatmap.values, dtype=float)
    upper = np.triu(np.ones(values.shape, dtype=bool))
    alpha = np.where(np.isnan(values), 0.2, 1.0) * upper
    colors = _colors(np.nan_to_num(values) / limit)
    colors[np.isnan(values)] = 0.5
    return np.concatenate([colors, alpha[..., None]], axis=-1)


def _colors(relative: np.ndarray) -> np.ndarray:
    """Return RGB in [0, 1] for values relative to the end of the scale."""
    stops = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in _DIVERGING])
    places = np.linspace(-1, 1, len(stops))
    clipped = np.clip(relative, -1, 1)
    return np.stack([np.interp(clipped, places, stops[:, k]) for k in range(3)], axis=-1)


def _hex(rgb: np.ndarray) -> str:
    return "#" + "".join(f"{round(float(part) * 255):02x}" for part in rgb)


def _draw_colorbar(
    canvas: Canvas, x: float, top: float, height: float, limit: float, unit: str
) -> None:
    steps = 33
    for k, color in enumerate(_colors(np.linspace(1, -1, steps))):
        y = top + height * k / steps
        # Each step reaches to the end, the next covers it: seams would show otherwise.
        canvas.rect(x, y, 9, top + height - y, _hex(color))
    canvas.rect(x, top, 9, height, None, edgecolor="#8a93a0", linewidth=0.5)
    for part, value in ((0.0, limit), (0.5, 0.0), (1.0, -limit)):
        y = top + part * height + (7, 3, 0)[round(part * 2)]
        canvas.text(x + 12, y, format_number(value), size=_SMALL + 1)
    canvas.text(x + 52, top + height / 2, unit, size=8, **_UPRIGHT)


def _describe_heatmap(title: str, heatmap: Heatmap) -> str:
    entries = [entry for row in _upper(heatmap) for entry in row if entry[2] is not None]
    if not entries:
        return f"Heat map: {title}. No values."
    i, j, value = max(entries, key=lambda entry: entry[2] or 0.0)
    layers = heatmap.layers
    where = f"layer {layers[i]}" if i == j else f"layers {layers[i]} and {layers[j]}"
    return f"Heat map: {title}. Largest value {format_number(value)} at {where}."


def _draw_positions(title: str, data: Any) -> str:
    positions = Positions.from_json(data)
    count = len(positions.tokens)
    left, top, height, step = 48.0, 12.0, 140.0, 24.0
    labels = [visible_token(token) for token in positions.tokens]
    labels = [label if len(label) <= 14 else label[:13] + "…" for label in labels]
    if positions.t_inst is not None:
        labels[positions.t_inst] += "  T_inst"
    below = 24 + 5.0 * max(map(len, labels), default=0)
    canvas = Canvas(left + max(count, 4) * step + 16, top + height + below)
    numbers = (*positions.values, *positions.lows, *positions.highs, 0.0)
    drawn = [value for value in numbers if value is not None]
    low, high = min(drawn), max(drawn)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return top + height * (high - value) / span

    right = left + max(count, 4) * step
    for value in sorted({low, 0.0, high}):
        canvas.line([left - 3, right], [y(value)] * 2, linewidth=0.6, alpha=0.35 if value else 0.9)
        canvas.text(left - 6, y(value) + 3, format_number(value), ha="right", size=8)
    canvas.text(9, top + height / 2, positions.unit, **_UPRIGHT)
    for k, label in enumerate(labels):
        middle = left + (k + 0.5) * step
        color = ACCENT if k == positions.t_inst else BAR
        if (mean := positions.values[k]) is not None:
            canvas.rect(middle - 8, min(y(mean), y(0)), 16, abs(y(mean) - y(0)), color)
        if (bottom := positions.lows[k]) is not None and (peak := positions.highs[k]) is not None:
            canvas.line([middle] * 2, [y(bottom), y(peak)], linewidth=1.2)
        style: dict[str, Any] = {
            "ha": "right",
            "va": "center",
            "rotation": 55,
            "rotation_mode": "anchor",
        }
        if k == positions.t_inst:
            style |= {"color": ACCENT, "weight": "bold"}
        canvas.text(middle, top + height + 10, label, size=8, **style)
    return canvas.svg(_describe_positions(title, positions))


def _describe_positions(title: str, positions: Positions) -> str:
    if positions.t_inst is None:
        return f"Bars per token: {title}."
    token, value = positions.tokens[positions.t_inst], positions.values[positions.t_inst]
    return f"Bars per token: {title}. T_inst is {token!r} with {format_number(value)}."


def _draw_intervals(title: str, data: Any) -> str:
    criteria = Intervals.from_json(data).criteria
    left, middle, right, row = 12.0, 150.0, 288.0, 40.0
    canvas = Canvas(300, 16 + row * len(criteria) + 12)
    if criteria:
        canvas.rect(middle, 12, right - middle, row * len(criteria), "#00897b", alpha=0.09)
        canvas.line([middle] * 2, [8, 12 + row * len(criteria)], linewidth=1.0)
        canvas.text(middle - 5, 9, "short of threshold", ha="right", size=_SMALL, alpha=0.7)
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
    name = criterion.name if len(criterion.name) <= 34 else criterion.name[:33] + "…"
    canvas.text(left, top + 13, name, weight="bold", size=8)
    canvas.text(right, top + 13, OUTCOME_WORDS[criterion.outcome], ha="right", size=8, color=color)
    if known:
        canvas.line([low, high], [y, y], color, linewidth=3.0, solid_capstyle="butt")
        for end, bound in ((low, criterion.low), (high, criterion.high)):
            if bound is not None:
                canvas.line([end, end], [y - 4, y + 4], color, linewidth=1.4)
    if criterion.estimate is not None:
        canvas.dot(x(criterion.estimate), y, 3.6, color)
    bounds = f"[{format_number(criterion.low)}, {format_number(criterion.high)}]"
    said = f"{format_number(criterion.estimate)} {bounds}"
    canvas.text(middle - 5, y + 12, format_number(threshold), ha="right", size=_SMALL, alpha=0.8)
    canvas.text(right, y + 12, said, ha="right", size=_SMALL, alpha=0.8)


_DRAWERS: dict[str, Callable[[str, Any], str]] = {
    "heatmap": _draw_heatmap,
    "positions": _draw_positions,
    "intervals": _draw_intervals,
}
