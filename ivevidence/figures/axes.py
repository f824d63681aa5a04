"""Axes of values and of names, thresholds and legends."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivevidence.figures.colors import ACCENT
from ivevidence.figures.svg import INK, Canvas
from ivevidence.figures.text import format_number, power_of_ten, shorten, squeeze, text_width

LABEL_SIZE = 8.0
LEGEND_ROW = 14.0
_SAMPLE = 22.0
_LONGEST = 40
_THRESHOLD: dict[str, Any] = {"width": 1.2, "dash": "5 3", "alpha": 0.8}

Entry = tuple[Callable[[Canvas, float, float], None], str]
"""What draws a sample around a place, and what it stands for."""


def clamped(value: float, low: float, high: float) -> float:
    """Return the number in [low, high] that is nearest to `value`."""
    return min(high, max(low, value))


def label_every(step: float, room: float) -> int:
    """Return which of the labels `step` apart are written (each, every second, fourth, ...)."""
    return 2 ** math.ceil(math.log2(max(1.0, room / step)))


@dataclass(frozen=True)
class Scale:
    """From values in [low, high] to places between `start` and `end`, in points."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of `value`."""
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round values with their labels."""
        return [(value, format_number(value)) for value in ticks(self.low, self.high)]


@dataclass(frozen=True)
class PowersOfTen:
    """From values of 10 to the `first` up to the `last` power to places; 0 stands at `start`."""

    first: int
    last: int
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of `value`, which may not be negative."""
        if not value:
            return self.start
        lowest = self.start + math.copysign(16.0, self.end - self.start)
        share = (math.log10(value) - self.first) / (self.last - self.first)
        return lowest + share * (self.end - lowest)

    def ticks(self) -> list[tuple[float, str]]:
        """Return 0 and powers of ten with their labels."""
        step = max(1, math.ceil((self.last - self.first) / 6))
        powers = range(self.last, self.first - 1, -step)
        return [(0.0, "0"), *((10.0**power, power_of_ten(power)) for power in powers)]


def padded(values: Sequence[float], *, start: float, end: float) -> Scale:
    """Return a scale for all `values`, with a little room beyond those that are not 0."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - room if low else low, high + room if high else high, start, end)


def powers_of_ten(values: Sequence[float], *, start: float, end: float) -> PowersOfTen:
    """Return a logarithmic scale for all `values`, which reaches 1."""
    logs = [math.log10(value) for value in values if value]
    first = min(0, math.floor(min(logs, default=0)))
    return PowersOfTen(first, max(first + 1, math.ceil(max(logs, default=0))), start, end)


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return round numbers in [low, high], at most about `most` of them."""
    raw = (high - low) / most
    if raw <= 1e-12 * max(abs(low), abs(high)) or raw < 1e-300:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def upright_axis(canvas: Canvas, scale: Scale, left: float, right: float, unit: str) -> None:
    """Draw grid lines, their values to the left, and the unit of an upright axis."""
    for value, label in scale.ticks():
        y = scale(value)
        canvas.line([(left - 3, y), (right, y)], width=0.6, alpha=0.25 if value else 0.9)
        canvas.text(left - 6, y + 3, label, anchor="end", size=LABEL_SIZE)
    canvas.upright(9, (scale.start + scale.end) / 2, shorten(unit, _LONGEST))


def level_axis(
    canvas: Canvas, scale: Scale | PowersOfTen, top: float, foot: float, unit: str
) -> None:
    """Draw grid lines, their values at the foot, and the unit of a level axis."""
    for value, label in scale.ticks():
        x = scale(value)
        canvas.line([(x, foot + 3), (x, top)], width=0.6, alpha=0.25 if value else 0.9)
        canvas.text(x, foot + 12, label, anchor="middle", size=LABEL_SIZE)
    middle = (scale.start + scale.end) / 2
    said = shorten(unit, _LONGEST)
    canvas.text(middle, foot + 25, said, anchor="middle", alpha=0.7, size=LABEL_SIZE)


@dataclass(frozen=True)
class Rows:
    """Named rows, `step` apart from `top` on, their names to the left of `left`.

    `marks` say what marked rows are.
    """

    names: tuple[str, ...]
    marks: Mapping[int, str]
    step: float
    top: float
    left: float

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        step: float,
        *,
        top: float,
        marks: Mapping[int, str] | None = None,
    ) -> "Rows":
        """Return the rows with as much room to their left as the names need."""
        marks = marks or {}
        said = [
            f"{squeeze(name)}  {shorten(marks[k], 24)}" if k in marks else squeeze(name)
            for k, name in enumerate(names)
        ]
        widest = max((text_width(name, LABEL_SIZE) for name in said), default=0.0)
        return cls(tuple(said), marks, step, top, 24 + widest * (1.1 if marks else 1))

    @property
    def foot(self) -> float:
        """Where the last row ends."""
        return self.top + max(len(self.names) * self.step, 12.0)

    @property
    def named(self) -> list[int]:
        """The rows whose names are written: all of them where there is room."""
        return [*range(0, len(self.names), label_every(self.step, LABEL_SIZE + 2))]

    def y(self, row: float) -> float:
        """Return the middle of a row."""
        return self.top + (row + 0.5) * self.step

    def draw(self, canvas: Canvas, right: float) -> None:
        """Write the names, and draw marked rows as bands up to `right`."""
        for k in self.marks:
            y = self.y(k) - self.step / 2
            canvas.rect(self.left, y, right - self.left, self.step, ACCENT, alpha=0.12)
        for k in self.named:
            style: dict[str, Any] = {"bold": True, "color": ACCENT} if k in self.marks else {}
            place = self.left - 6, self.y(k)
            canvas.text(*place, self.names[k], anchor="end", middle=True, size=LABEL_SIZE, **style)


def stroke(color: str, **style: Any) -> Callable[[Canvas, float, float], None]:
    """Return what draws a sample of a line, or of a bar where it is wide."""

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.line([(x - _SAMPLE / 2, y), (x + _SAMPLE / 2, y)], color, **style)

    return draw


def threshold_entry(threshold: float | None) -> list[Entry]:
    """Return the legend's entry of a threshold, if there is one."""
    if threshold is None:
        return []
    return [(stroke(INK, **_THRESHOLD), f"threshold {format_number(threshold)}")]


def draw_threshold(canvas: Canvas, *ends: tuple[float, float]) -> None:
    """Draw the line of a threshold."""
    canvas.line(ends, **_THRESHOLD)


def canvas_with_legend(right: float, height: float, top: float, entries: Sequence[Entry]) -> Canvas:
    """Return a canvas with its legend drawn to the right of a plot that ends at `right`."""
    widths = [text_width(shorten(name, _LONGEST), LABEL_SIZE) for _, name in entries]
    legend = _SAMPLE + 16 + max(widths) if entries else 0.0
    canvas = Canvas(right + 16 + legend, max(height, top + LEGEND_ROW * len(entries) + 4))
    for k, (sample, name) in enumerate(entries):
        y = top + (k + 0.5) * LEGEND_ROW
        sample(canvas, right + 14 + _SAMPLE / 2, y)
        place = right + 14 + _SAMPLE + 5, y
        canvas.text(*place, shorten(name, _LONGEST), middle=True, size=LABEL_SIZE)
    return canvas
