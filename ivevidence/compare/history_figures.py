"""Figures of verdicts and estimates over checkpoints."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any

from ivevidence.figures.axes import (
    LABEL_SIZE,
    Entry,
    Scale,
    label_every,
    padded,
    stroke,
    value_axis,
)
from ivevidence.figures.chart_data import History, HistoryPoint
from ivevidence.figures.colors import SERIES, marker
from ivevidence.figures.svg import INK, Canvas, outline
from ivevidence.figures.text import NO_VALUE, format_number, shorten, text_width

_LEFT, _HEIGHT = 48.0, 96.0
_NARROWEST, _WIDEST_STEP, _ROOM = 130.0, 40.0, 220.0
_ROW, _SAMPLE, _RADIUS = 14.0, 20.0, 3.4
_LONGEST = 24
_LANE = 13.0
_DASH: dict[str, Any] = {"width": 1.2, "dash": "5 3", "alpha": 0.8}

# Shape, color and whether it is filled; what is no verdict known here gets the last shape.
_MARKS = {
    "supported": (0, SERIES[2], True),
    "refuted": (4, SERIES[1], True),
    "inconclusive": (3, SERIES[3], False),
    "not_applicable": (2, SERIES[11], False),
}
_OTHER = (6, SERIES[4], False)

_Placed = tuple[float, HistoryPoint]


def draw_history(title: str, data: Any) -> str:
    """Draw a `History`."""
    history = History.from_json(data)
    points = history.points
    step = min(_WIDEST_STEP, max(9.0, _ROOM / max(len(points), 1)))
    across = max(step * len(points), _NARROWEST)
    rows = _rows(_entries(points), across)
    top = 6 + _ROW * len(rows)
    known = [v for p in points for v in (p.estimate, p.low, p.high, p.threshold) if v is not None]
    foot = top + _HEIGHT * bool(known)
    lane = foot + _LANE * any(p.verdict and p.estimate is None for p in points)
    names, every = _names([point.label for point in points]), label_every(step, LABEL_SIZE + 2)
    widest = max((text_width(name, LABEL_SIZE) for name in names[::every]), default=0.0)
    slanted = widest > step - 4
    left = max(_LEFT, 0.57 * widest - step / 2) if slanted else _LEFT
    canvas = Canvas(left + across + 12, lane + 18 + 0.82 * widest * slanted)
    places = [left + (k + 0.5) * step for k in range(len(points))]
    placed = list(zip(places, points, strict=True))
    _draw_legend(canvas, left, rows)
    y = padded(known, start=foot, end=top)
    if known:
        value_axis(canvas, y, left, left + across, shorten(history.unit, 22))
        _draw_thresholds(canvas, placed, y, step)
    _draw_values(canvas, placed, y)
    _draw_marks(canvas, placed, y, lane - 3)
    style: dict[str, Any] = {"anchor": "middle"}
    if slanted:
        style = {"anchor": "end", "angle": 55, "middle": True}
    for place, name in list(zip(places, names, strict=True))[::every]:
        canvas.text(place, lane + (11 if slanted else 12), name, size=LABEL_SIZE, **style)
    return canvas.svg(_describe(title, points))


def _entries(points: Sequence[HistoryPoint]) -> list[Entry]:
    """The legend: the verdicts that there are, in their order, and the threshold."""
    found = dict.fromkeys(point.verdict for point in points if point.verdict is not None)
    ordered = [v for v in _MARKS if v in found] + [v for v in found if v not in _MARKS]
    entries: list[Entry] = [(_mark_sample(v), shorten(_word(v), _LONGEST)) for v in ordered]
    thresholds = {point.threshold for point in points} - {None}
    if thresholds:
        value = format_number(*thresholds) if len(thresholds) == 1 else ""
        entries.append((stroke(INK, **_DASH), f"threshold {value}".rstrip()))
    return entries


def _word(verdict: str) -> str:
    return verdict.replace("_", " ")


def _rows(entries: Sequence[Entry], room: float) -> list[list[tuple[float, Entry]]]:
    """The legend's entries with the place of each, in rows that are no wider than `room`."""
    rows: list[list[tuple[float, Entry]]] = []
    x = room
    for entry in entries:
        width = _SAMPLE + 12 + text_width(entry[1], LABEL_SIZE)
        if x + width > room:
            rows.append([])
            x = 0.0
        rows[-1].append((x, entry))
        x += width
    return rows


def _draw_legend(canvas: Canvas, left: float, rows: list[list[tuple[float, Entry]]]) -> None:
    for k, row in enumerate(rows):
        y = (k + 0.5) * _ROW
        for x, (sample, name) in row:
            sample(canvas, left + x + _SAMPLE / 2, y)
            canvas.text(left + x + _SAMPLE + 3, y, name, middle=True, size=LABEL_SIZE)


def _mark_sample(verdict: str) -> Callable[[Canvas, float, float], None]:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        _draw_mark(canvas, verdict, [(x, y)])

    return draw


def _draw_mark(canvas: Canvas, verdict: str, places: Sequence[tuple[float, float]]) -> None:
    shape, color, filled = _MARKS.get(verdict, _OTHER)
    d = "".join(marker(shape, x, y, _RADIUS) for x, y in places)
    canvas.path(d, color if filled else None, stroke=None if filled else color, width=1.4)


def _draw_thresholds(canvas: Canvas, placed: Sequence[_Placed], y: Scale, step: float) -> None:
    """Draw each threshold over the columns that it holds in; neighbours that share one as one."""
    for threshold, group in groupby(placed, key=lambda entry: entry[1].threshold):
        if threshold is not None:
            places = [place for place, _ in group]
            ends = (places[0] - step / 2, places[-1] + step / 2)
            canvas.line([(x, y(threshold)) for x in ends], **_DASH)


def _draw_values(canvas: Canvas, placed: Sequence[_Placed], y: Scale) -> None:
    """Draw intervals, open ones to the edge, and the lines between neighbours of one group."""
    joints, whiskers, caps = "", "", ""
    for (x0, first), (x1, second) in pairwise((x, p) for x, p in placed if p.verdict is not None):
        if first.group == second.group and None not in (first.estimate, second.estimate):
            joints += outline([(x0, y(first.estimate or 0)), (x1, y(second.estimate or 0))])
    for x, point in placed:
        if point.low is None and point.high is None:
            continue
        bounds = ((point.low, y.start), (point.high, y.end))
        ends = [edge if bound is None else y(bound) for bound, edge in bounds]
        whiskers += outline([(x, end) for end in ends])
        for (bound, _), end in zip(bounds, ends, strict=True):
            if bound is not None:
                caps += outline([(x - 2.5, end), (x + 2.5, end)])
    canvas.path(joints, stroke=INK, width=0.8, alpha=0.35)
    canvas.path(whiskers + caps, stroke=INK, width=1.2, alpha=0.75)


def _draw_marks(canvas: Canvas, placed: Sequence[_Placed], y: Scale, foot: float) -> None:
    """Draw the verdicts at their estimates, or at the foot where there is none."""
    places: dict[str, list[tuple[float, float]]] = {}
    for x, point in placed:
        if point.verdict is not None:
            height = foot if point.estimate is None else y(point.estimate)
            places.setdefault(point.verdict, []).append((x, height))
    for verdict, found in places.items():
        _draw_mark(canvas, verdict, found)


def _names(labels: Sequence[str]) -> list[str]:
    """The labels without their common beginning and without their middle, where they are long."""
    shared = labels[0] if len(labels) > 1 else ""
    while not all(label.startswith(shared) for label in labels):
        shared = shared[:-1]
    shared = re.sub(r"[^-/_. ]*$", "", shared)
    if len(shared) > _LONGEST / 3:
        labels = [f"…{label[len(shared) :]}" for label in labels]
    return [
        label if len(label) <= _LONGEST else f"{label[:9]}…{label[10 - _LONGEST :]}"
        for label in labels
    ]


def _describe(title: str, points: Sequence[HistoryPoint]) -> str:
    counts = Counter(point.verdict for point in points if point.verdict is not None)
    said = [f"{number} {_word(verdict)}" for verdict, number in counts.items()]
    known = [point for point in points if point.estimate is not None]
    for word, point in zip(("first", "last"), (known[:1], known[-1:]), strict=True):
        said += [f"{word} {format_number(p.estimate)} at {p.label}" for p in point]
    return f"History: {title}. {'; '.join(said) or NO_VALUE}."
