"""Axes of values and of tokens, and legends."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivevidence.figures.svg import INK, Canvas
from ivevidence.figures.text import format_number, shorten, text_width, token_label

LABEL_SIZE = 8.0
LEGEND_ROW = 14.0
_SAMPLE = 22.0
_LONGEST = 34

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


def padded(values: Sequence[float], *, start: float, end: float) -> Scale:
    """Return a scale for all `values`, with a little room beyond those that are not 0."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - room if low else low, high + room if high else high, start, end)


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return round numbers in [low, high], at most about `most` of them."""
    raw = (high - low) / most
    if raw <= 1e-12 * max(abs(low), abs(high)) or raw < 1e-300:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def value_axis(canvas: Canvas, scale: Scale, left: float, right: float, unit: str) -> None:
    """Draw grid lines, their values and the unit of an upright axis."""
    for value in ticks(scale.low, scale.high):
        grid_line(canvas, scale(value), left, right, format_number(value), strong=value == 0)
    canvas.upright(9, (scale.start + scale.end) / 2, unit)


def grid_line(
    canvas: Canvas, y: float, left: float, right: float, label: str, *, strong: bool = False
) -> None:
    """Draw one grid line with its label."""
    canvas.line([(left - 3, y), (right, y)], width=0.6, alpha=0.9 if strong else 0.25)
    canvas.text(left - 6, y + 3, label, anchor="end", size=LABEL_SIZE)


def no_bar(canvas: Canvas, x: float, y: float, value: float | None, color: str) -> None:
    """Write 0, or the sign for no value, where a bar would stand."""
    style: dict[str, Any] = {"anchor": "middle", "size": LABEL_SIZE, "bold": True}
    canvas.text(x, y - 3, format_number(value), color=color, **style)


@dataclass(frozen=True)
class TokenAxis:
    """A column a token, with slanted labels below; `marks` says what marked tokens are.

    `left` is where the first column begins, `below` the height of the labels.
    """

    labels: tuple[str, ...]
    marks: Mapping[int, tuple[str, str]]
    step: float
    left: float
    right: float
    below: float

    @classmethod
    def of(
        cls, tokens: Sequence[str], marks: Mapping[int, tuple[str, str]], *, left: float = 48.0
    ) -> "TokenAxis":
        """Return the axis of `tokens`; `marks` maps a position to its name and color."""
        labels = [token_label(token) for token in tokens]
        for position, (name, _) in marks.items():
            labels[position] += f"  {name}"
        step = min(24.0, max(11.0, 600.0 / max(len(tokens), 1)))
        bold = 1.1
        widths = [
            text_width(label, LABEL_SIZE) * (bold if k in marks else 1)
            for k, label in enumerate(labels)
        ]
        reach = [0.57 * width - (k + 0.5) * step for k, width in enumerate(widths)]
        left = max(left, *reach, 0.0) if reach else left
        below = 24 + 0.82 * max(widths, default=0.0)
        right = left + max(len(tokens), 4) * step
        return cls(tuple(labels), dict(marks), step, left, right, below)

    def x(self, position: float) -> float:
        """Return the middle of a token's column."""
        return self.left + (position + 0.5) * self.step

    def draw(self, canvas: Canvas, y: float) -> None:
        """Write the labels below `y`."""
        for k, label in enumerate(self.labels):
            _, color = self.marks.get(k, ("", INK))
            canvas.text(
                *(self.x(k), y + 10, label),
                anchor="end", angle=55, middle=True, size=LABEL_SIZE, color=color,
                bold=k in self.marks,
            )  # fmt: skip


def stroke(color: str, **style: Any) -> Callable[[Canvas, float, float], None]:
    """Return what draws a sample of a line, or of a bar where it is wide."""

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.line([(x - _SAMPLE / 2, y), (x + _SAMPLE / 2, y)], color, **style)

    return draw


def legend_width(entries: Sequence[Entry]) -> float:
    """Return how wide the legend of `entries` is."""
    widths = [text_width(shorten(name, _LONGEST), LABEL_SIZE) for _, name in entries]
    return _SAMPLE + 16 + max(widths) if entries else 0.0


def draw_legend(canvas: Canvas, x: float, top: float, entries: Sequence[Entry]) -> None:
    """Draw the entries one below the other, from `top` on."""
    for k, (sample, name) in enumerate(entries):
        y = top + (k + 0.5) * LEGEND_ROW
        sample(canvas, x + _SAMPLE / 2, y)
        text = shorten(name, _LONGEST)
        canvas.text(x + _SAMPLE + 5, y, text, middle=True, size=LABEL_SIZE)
