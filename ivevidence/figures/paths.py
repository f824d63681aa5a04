"""Figures of paths: bars of path counts per token, trajectories."""

import math
from collections.abc import Callable
from typing import Any

from ivevidence.figures.axes import (
    LABEL_SIZE,
    LEGEND_ROW,
    Entry,
    TokenAxis,
    clamped,
    draw_legend,
    grid_line,
    label_every,
    legend_width,
    no_bar,
    stroke,
)
from ivevidence.figures.colors import (
    ACCENT,
    BAR,
    DASHES,
    SERIES,
)
from ivevidence.figures.path_data import PathBars, Trajectories, Trajectory
from ivevidence.figures.svg import INK, Canvas
from ivevidence.figures.text import format_number, power_of_ten

_SENTENCE_END = "#9b6bc3"
_ESTIMATED = "2.5 1.5"


def draw_path_bars(title: str, data: Any) -> str:
    """Draw `PathBars`."""
    bars = PathBars.from_json(data)
    marks = {}
    if bars.sentence_end is not None:
        marks[bars.sentence_end] = ("sentence end", _SENTENCE_END)
    if bars.t_inst is not None:
        marks[bars.t_inst] = ("T_inst", ACCENT)
    axis = TokenAxis.of(bars.tokens, marks)
    entries = _path_bars_legend(bars)
    top, foot = 12.0, 172.0
    width = axis.right + 16 + legend_width(entries)
    canvas = Canvas(width, foot + axis.below)
    y = _counts_axis(canvas, bars, top, foot, axis)
    canvas.upright(9, (top + foot) / 2, bars.unit)
    for k in range(len(bars.tokens)):
        color = marks[k][1] if k in marks else BAR
        _draw_path_bar(canvas, bars, k, y, axis.x(k), axis.step, color)
    axis.draw(canvas, foot)
    draw_legend(canvas, axis.right + 12, top, entries)
    return canvas.svg(_describe_path_bars(title, bars))


def _counts_axis(
    canvas: Canvas, bars: PathBars, top: float, foot: float, axis: TokenAxis
) -> Callable[[float], float]:
    """Draw a logarithmic axis with 0 at its foot; return where a number stands."""
    numbers = (*bars.high_ranking, *bars.totals, *bars.lows, *bars.highs)
    known = [number for number in numbers if number]
    first = min(0, math.floor(math.log10(min(known)))) if known else 0
    last = max(first + 1, math.ceil(math.log10(max(known)))) if known else 1
    step = max(1, math.ceil((last - first) / 6))
    first = math.floor(first / step) * step
    lowest = foot - 16  # below it, the axis goes to 0 at once

    def y(number: float) -> float:
        if not number:
            return foot
        return lowest - (lowest - top) * (math.log10(number) - first) / (last - first)

    for exponent in range(first, last + 1, step):
        grid_line(canvas, y(10.0**exponent), axis.left, axis.right, power_of_ten(exponent))
    grid_line(canvas, foot, axis.left, axis.right, "0", strong=True)
    return y


def _draw_path_bar(
    canvas: Canvas,
    bars: PathBars,
    k: int,
    y: Callable[[float], float],
    x: float,
    step: float,
    color: str,
) -> None:
    total, mean = bars.totals[k], bars.high_ranking[k]
    if total:
        canvas.rect(x - 0.4 * step, y(total), 0.8 * step, y(0) - y(total), INK, alpha=0.16)
    if mean:
        dash = _ESTIMATED if bars.estimated and bars.estimated[k] else ""
        canvas.line([(x, y(0)), (x, y(mean))], color, width=0.5 * step, dash=dash)
    low, high = (bars.lows[k], bars.highs[k]) if bars.lows and bars.highs else (None, None)
    if low is not None and high is not None:
        canvas.line([(x, y(low)), (x, y(high))], width=1.2)
    if not mean:
        no_bar(canvas, x, y(high or 0), mean, color)


def _path_bars_legend(bars: PathBars) -> list[Entry]:
    entries = [
        (stroke(BAR, width=8), "high-ranking paths"),
        (stroke(INK, width=8, alpha=0.16), "all paths"),
    ]
    if any(bars.estimated):
        entries.insert(1, (stroke(BAR, width=8, dash=_ESTIMATED), "estimated from a sample"))
    return entries


def _describe_path_bars(title: str, bars: PathBars) -> str:
    said = f"Bars of path counts per token, logarithmic: {title}."
    if bars.t_inst is not None:
        some, every = bars.high_ranking[bars.t_inst], bars.totals[bars.t_inst]
        said += f" T_inst is {bars.tokens[bars.t_inst]!r} with {format_number(some)}"
        said += f" high-ranking paths of {format_number(every)}."
    if any(bars.estimated):
        said += f" Estimated from a sample: {sum(bars.estimated)} of {len(bars.tokens)} tokens."
    return said


def draw_trajectories(title: str, data: Any) -> str:
    """Draw `Trajectories`."""
    found = Trajectories.from_json(data)
    axis = TokenAxis.of(found.tokens, _ends(found), left=62)
    states = len(found.paths[0].positions) if found.paths else 1
    rise = clamped(250 / max(states - 1, 1), 8, 26)
    top = 16.0
    foot = top + max(rise * (states - 1), 44.0) + 10
    entries = [
        (stroke(SERIES[k], width=2, dash=DASHES[k]), _path_name(k, path, found.unit))
        for k, path in enumerate(found.paths)
    ]
    width, below = axis.right + 12 + legend_width(entries), foot + axis.below
    canvas = Canvas(width, max(below, top + LEGEND_ROW * len(entries)))
    for position, (_, color) in axis.marks.items():
        left = axis.x(position) - axis.step / 2
        canvas.rect(left, top - 8, axis.step, foot - top + 8, color, alpha=0.12)
    for state in range(states):
        y = foot - 10 - rise * state
        canvas.line([(axis.left, y), (axis.right, y)], width=0.5, alpha=0.25)
        if state == 0 or (state - 1) % label_every(rise, 11) == 0:
            name = "embedding" if state == 0 else str(state - 1)
            place = axis.left - 5, y
            canvas.text(*place, name, anchor="end", middle=True, size=LABEL_SIZE)
    canvas.upright(9, (top + foot) / 2, "after block")
    gap = min(3.0, 0.8 * axis.step / max(len(found.paths), 1))
    for k, path in reversed(list(enumerate(found.paths))):
        # To the right and down alike: neither upright nor slanted parts of two paths coincide.
        shift = k - (len(found.paths) - 1) / 2
        aside, down = shift * gap, shift * min(0.8, 0.08 * rise)
        points = [
            (axis.x(position) + aside, foot - 10 - rise * state + down)
            for state, position in enumerate(path.positions)
        ]
        canvas.line(points, SERIES[k], width=min(1.3, 0.8 * gap), dash=DASHES[k])
    axis.draw(canvas, foot)
    draw_legend(canvas, axis.right + 12, top, entries)
    return canvas.svg(_describe_trajectories(title, found))


def _ends(found: Trajectories) -> dict[int, tuple[str, str]]:
    last = len(found.tokens) - 1
    marks = {last: ("T_last", BAR)} if found.tokens else {}
    if found.t_inst is not None:
        name = "T_inst, T_last" if found.t_inst == last else "T_inst"
        marks[found.t_inst] = (name, ACCENT)
    return marks


def _path_name(index: int, path: Trajectory, unit: str) -> str:
    rank = "" if path.rank is None else f", rank {path.rank}"
    return f"{index + 1}: {unit} {format_number(path.value)}{rank}"


def _describe_trajectories(title: str, found: Trajectories) -> str:
    said = f"Paths through tokens and layers: {title}. {len(found.paths)} paths"
    if not found.paths:
        return said + "."
    via = dict.fromkeys(found.paths[0].positions)
    tokens = ", ".join(repr(found.tokens[position]) for position in via)
    return f"{said}. {_path_name(0, found.paths[0], found.unit)}, through {tokens}."
