"""How values and series are told apart: color scales; series by color, dash and marker alike."""

import math

import numpy as np

from ivevidence.figures.svg import Canvas, Point, circle, outline
from ivevidence.figures.text import format_number, text_width

ACCENT = "#d1551c"

# Each has a contrast of at least 3 with the light page and with the dark one.
SERIES = (
    *("#3b7fc0", "#d1551c", "#00897b", "#b08500", "#9b6bc3", "#c2487a"),
    *("#5c8f2a", "#8a6d5a", "#2f93a8", "#c4574f", "#7a7f00", "#7c7c7c"),
)
DASHES = ("", "6 2", "2 2", "8 2 2 2", "4 1", "1 1.5", "10 3", "6 1 1 1", "3 3", "8 1 3 1")

EDGE = "#8a93a0"

# Negative to positive through white; told apart by all common kinds of color vision.
_DIVERGING = ("#7f3b08", "#d1701c", "#f5c08a", "#ffffff", "#a9cbe8", "#3b7fc0", "#0b3c78")
_STOPS = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in _DIVERGING])

# Corners of the markers around (0, 0); None is the circle.
_SQUARE = [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
_CROSS = [(1.1, 0.35), (0.35, 0.35), (0.35, 1.1)]


def scale_colors(relative: np.ndarray) -> np.ndarray:
    """Return RGB in [0, 1] for values relative to the end of the scale, in [-1, 1]."""
    places = np.linspace(-1, 1, len(_STOPS))
    clipped = np.clip(relative, -1, 1)
    return np.stack([np.interp(clipped, places, _STOPS[:, k]) for k in range(3)], axis=-1)


def cell_pixels(relative: np.ndarray) -> np.ndarray:
    """Return RGBA for values relative to the end of the scale; NaN is a transparent gray."""
    missing = np.isnan(relative)
    colors = np.where(missing[..., None], 0.5, scale_colors(np.nan_to_num(relative)))
    return np.concatenate([colors, np.where(missing, 0.2, 1.0)[..., None]], axis=-1)


def text_colors(rgb: np.ndarray) -> np.ndarray:
    """Return colors that can be read on `rgb`."""
    return np.where(rgb @ np.array([0.3, 0.59, 0.11]) < 0.55, "#ffffff", "#1a1f26")


def colorbar(
    canvas: Canvas, x: float, top: float, height: float, ends: tuple[float, float], unit: str
) -> None:
    """Draw the scale from `ends[0]` (0 or minus `ends[1]`) at the foot to `ends[1]`."""
    low, high = ends
    steps = np.linspace(1, -1 if low else 0, 33)
    canvas.image(x, top, 9, height, cell_pixels(steps)[:, None])
    canvas.rect(x, top, 9, height, None, edge=EDGE, line=0.5)
    labels = [format_number(value) for value in (high, (low + high) / 2, low)]
    for part, label in enumerate(labels):
        canvas.text(x + 12, top + part / 2 * height + (7, 3, 0)[part], label, size=8)
    widest = max(text_width(label, 8) for label in labels)
    canvas.upright(x + 24 + widest, top + height / 2, unit, size=8)


def marker(index: int, x: float, y: float, radius: float) -> str:
    """Return the path of the marker of series `index`; there are twelve shapes."""
    corners = _MARKERS[index % len(_MARKERS)]
    if corners is None:
        return circle(x, y, radius)
    return outline(((x + radius * u, y + radius * v) for u, v in corners), closed=True)


def draw_bar(canvas: Canvas, y: float, ends: tuple[float, float], width: float, index: int) -> None:
    """Draw the level bar of series `index` around `y`, from its foot `ends[0]` to `ends[1]`."""
    color, (foot, end) = SERIES[index], ends
    alpha, dash, outlined = _FILLS[index]
    if alpha:
        canvas.line([(foot, y), (end, y)], color, width=width, alpha=alpha, dash=dash)
    if outlined:
        canvas.rect(foot, y - width / 2 + 0.5, end - foot, width - 1, None, edge=color)


def _polygon(corners: int, first: float, *, inner: float = 0.0) -> list[Point]:
    """Corners of a regular polygon, from angle `first` (degrees) on; with `inner`, of a star."""
    count = corners * (2 if inner else 1)
    radii = [1.25 if k % 2 == 0 or not inner else inner for k in range(count)]
    angles = [math.radians(first + 360 * k / count) for k in range(count)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _turned(corners: list[Point]) -> list[Point]:
    """Corners of a quarter, and of the quarters that it becomes when turned."""
    result = list(corners)
    for _ in range(3):
        corners = [(-v, u) for u, v in corners]
        result += corners
    return result


_MARKERS: tuple[list[Point] | None, ...] = (
    *(None, _polygon(3, -90), _SQUARE, _polygon(4, 0), _polygon(3, 90), _turned(_CROSS)),
    *(_polygon(5, -90, inner=0.5), _polygon(3, 0), _polygon(6, 0), _polygon(3, 180)),
    *(_polygon(4, 45, inner=0.45), _polygon(5, -90)),
)

# Opacity, stripes and outline of a bar.
_FILLS = (
    *((1.0, "", False), (1.0, "4 2", False), (0.0, "", True), (1.0, "1.2 1.2", False)),
    *((1.0, "4 2", True), (0.4, "", True), (1.0, "1.2 1.2", True), (0.4, "4 2", False)),
    *((0.4, "", False), (0.4, "4 2", True)),
)
