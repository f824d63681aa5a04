"""Estimates with their bounds against thresholds, a row each."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ivevidence.figures.axes import Rows, Scale, clamped, draw_threshold, level_axis, padded
from ivevidence.figures.colors import SERIES, marker
from ivevidence.figures.data import Estimate, Intervals, lead, leads
from ivevidence.figures.svg import INK, Canvas, outline
from ivevidence.figures.text import format_number, shorten, text_width, threshold_text

_WIDTH, _TOP, _TALLEST, _SMALL = 170.0, 14.0, 900.0, 7.5

# Shape, color and whether it is filled; an outcome not known here gets the last one.
_MARKS = {
    **dict.fromkeys(("supported", "beyond"), (0, SERIES[2], True)),
    **dict.fromkeys(("refuted", "short"), (4, SERIES[1], True)),
    **dict.fromkeys(("inconclusive", "open"), (3, SERIES[3], False)),
    "not_applicable": (2, SERIES[11], False),
}
_OTHER = (6, SERIES[4], False)


def draw_intervals(title: str, intervals: Intervals) -> str:
    """Draw `Intervals`."""
    estimates = intervals.estimates
    step = clamped(_TALLEST / max(len(estimates), 1), 4, 18)
    rows = Rows.of([e.name for e in estimates], step, top=_TOP)
    said = [_said(estimate) for estimate in estimates]
    left, right = rows.left, rows.left + _WIDTH
    widest = max((text_width(text, _SMALL) for text in said), default=0.0)
    canvas = Canvas(right + 16 + widest, rows.foot + (30 if intervals.one_scale else 6))
    shared = padded([v for e in estimates for v in _numbers(e)], start=left, end=right)
    if intervals.one_scale:
        if any(map(_numbers, estimates)):
            level_axis(canvas, shared, rows.top, rows.foot, intervals.unit)
        _join(canvas, estimates, shared, rows)
    else:
        _draw_sides(canvas, rows, right)
    rows.draw(canvas, right)
    for k, estimate in enumerate(estimates):
        y, radius = rows.y(k), min(3.6, step / 2)
        if intervals.one_scale:
            for place in map(shared, estimate.edges):
                draw_threshold(canvas, (place, y - step / 2), (place, y + step / 2))
            _draw_one(canvas, estimate, shared, y, radius)
        else:
            led = _led(estimate)
            _draw_one(canvas, led, _own_scale(led, left, right), y, radius)
    for k in rows.named:
        canvas.text(right + 10, rows.y(k), said[k], middle=True, size=_SMALL)
    return canvas.svg(_describe(title, estimates))


def _numbers(estimate: Estimate) -> list[float]:
    numbers = (estimate.estimate, estimate.low, estimate.high, *estimate.edges)
    return [number for number in numbers if number is not None]


def _led(estimate: Estimate) -> Estimate:
    """The estimate as how far it is beyond its threshold, on the side that is asked for."""
    threshold, side = estimate.threshold, estimate.side
    if threshold is None:
        return estimate
    low, high = leads(estimate.low, estimate.high, threshold, side)
    return replace(
        estimate,
        estimate=None if estimate.estimate is None else lead(estimate.estimate, threshold, side),
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        threshold=0.0,
        side="above",
    )


def _own_scale(estimate: Estimate, left: float, right: float) -> Scale:
    """The threshold in the middle, all else as far from it as there is room."""
    numbers = _numbers(estimate)
    middle = numbers[-1] if numbers else 0.0
    reach = 1.12 * max((abs(number - middle) for number in numbers), default=0.0) or 1.0
    return Scale(middle - reach, middle + reach, left, right)


def _draw_sides(canvas: Canvas, rows: Rows, right: float) -> None:
    """Draw the threshold of all rows, and say which side of it is which."""
    middle = (rows.left + right) / 2
    style: dict[str, Any] = {"size": _SMALL, "alpha": 0.7}
    canvas.rect(middle, rows.top, right - middle, rows.foot - rows.top, SERIES[2], alpha=0.09)
    canvas.line([(middle, rows.top - 4), (middle, rows.foot)])
    canvas.text(middle - 5, rows.top - 4, "short of threshold", anchor="end", **style)
    canvas.text(middle + 5, rows.top - 4, "beyond", **style)


def _join(canvas: Canvas, estimates: Sequence[Estimate], x: Scale, rows: Rows) -> None:
    """Draw thin lines between neighbours of one group."""
    joints = ""
    for k, (first, second) in enumerate(pairwise(estimates)):
        if first.estimate is None or second.estimate is None or first.group != second.group:
            continue
        ends = (x(first.estimate), rows.y(k)), (x(second.estimate), rows.y(k + 1))
        joints += outline(ends)
    canvas.path(joints, stroke=INK, width=0.8, alpha=0.35)


def _draw_one(canvas: Canvas, estimate: Estimate, x: Scale, y: float, radius: float) -> None:
    """Draw interval and estimate; to the edge on a side that is not bounded."""
    shape, color, filled = _MARKS.get(estimate.outcome or "", _OTHER)
    bounds = (estimate.low, x.start), (estimate.high, x.end)
    ends = [edge if bound is None else x(bound) for bound, edge in bounds]
    if estimate.low is not None or estimate.high is not None:
        canvas.line([(end, y) for end in ends], color, width=2)
        for (bound, _), end in zip(bounds, ends, strict=True):
            if bound is not None:
                canvas.line([(end, y - radius), (end, y + radius)], color, width=1.4)
    if estimate.estimate is not None:
        d = marker(shape, x(estimate.estimate), y, radius)
        canvas.path(d, color if filled else None, stroke=None if filled else color, width=1.4)


def _said(estimate: Estimate) -> str:
    """Outcome and numbers of an estimate as they stand beside its row."""
    words = [_word(estimate.outcome)] if estimate.outcome else []
    if _numbers(estimate):
        low, high = format_number(estimate.low), format_number(estimate.high)
        words.append(f"{format_number(estimate.estimate)} [{low}, {high}]")
    if estimate.threshold is not None:
        threshold = threshold_text(format_number(estimate.threshold), estimate.side)
        words.append(f"against {threshold}")
    return " ".join(words)


def _word(outcome: str) -> str:
    return shorten(outcome.replace("_", " "), 24)


def _describe(title: str, estimates: Sequence[Estimate]) -> str:
    counts = Counter(e.outcome for e in estimates if e.outcome)
    said = [f"{number} {_word(outcome)}" for outcome, number in counts.items()]
    known = [e for e in estimates if e.estimate is not None]
    said += [f"{e.name} {format_number(e.estimate)}" for e in (known[:1] + known[1:][-1:])]
    return f"Intervals: {title}. {'; '.join(said) or 'None'}."
