"""What a plan says: tables of measurements and costs, as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

State = Literal["stored", "missing", "open"]
_STATES: dict[State, str] = {"stored": "in the store", "missing": "to make", "open": "open"}
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


@dataclass(frozen=True, slots=True)
class Planned:
    """A measurement that cells need.

    task: empty where it is the checkpoint's, whatever the task. state: `open`, which one it is
    turns out with others, so that it cannot be looked for yet. flop: what it costs at most.
    """

    checkpoint: str
    task: str
    method: str
    state: State
    flop: float


@dataclass
class Plan:
    """What the selected cells need.

    planned: each measurement once, by what tells it from others. cells: of a checkpoint, how many.
    parameters: of a checkpoint. problems: why cells of a checkpoint or claim are not planned.
    """

    planned: dict[tuple[str, ...], Planned] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def lines(plan: Plan, *, listing: bool) -> Iterator[str]:
    """The plan by checkpoint and by method, and (listing) every measurement before that."""
    every = list(plan.planned.values())
    if not every and not plan.problems:
        yield "the selected cells need no measurements"
        return
    if listing:
        for one in every:
            cost = "" if one.state == "stored" else f", {prefixed(one.flop)}FLOP at most"
            where = " ".join(filter(None, [one.checkpoint, one.task, one.method]))
            yield f"{_STATES[one.state]}: {where}{cost}"
        yield ""
    header = ("measurements", *_STATES.values(), "FLOP at most")
    yield from _table(
        ("checkpoint", "cells", "parameters", *header),
        (
            (name, str(plan.cells[name]), prefixed(plan.parameters[name]), *_sums(some))
            for name, some in _grouped(every, lambda one: one.checkpoint).items()
        ),
    )
    yield ""
    methods = _grouped(every, lambda one: one.method)
    total = ("all", *_sums(every))
    yield from _table(
        ("method", *header), [*((name, *_sums(some)) for name, some in methods.items()), total]
    )
    for name, why in plan.problems.items():
        yield f"not planned: {name}: {why}"


def prefixed(number: float) -> str:
    """A number to two digits, with a unit prefix."""
    power = 0
    while number >= 999.5 and power < len(_PREFIXES) - 1:
        number, power = number / 1000, power + 1
    digits = 1 if 0 < number < 9.95 else 0
    return f"{number:.{digits}f} {_PREFIXES[power]}"


def _grouped(every: Iterable[Planned], by: Callable[[Planned], str]) -> dict[str, list[Planned]]:
    found: dict[str, list[Planned]] = {}
    for one in every:
        found.setdefault(by(one), []).append(one)
    return found


def _sums(some: list[Planned]) -> tuple[str, ...]:
    counts = [sum(one.state == state for one in some) for state in _STATES]
    flop = sum(one.flop for one in some if one.state != "stored")
    return (*map(str, [len(some), *counts]), prefixed(flop))


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of equal columns: the first to the left, numbers to the right."""
    every = [header, *rows]
    first, *others = [max(map(len, column)) for column in zip(*every, strict=True)]
    for name, *numbers in every:
        cells = [number.rjust(width) for number, width in zip(numbers, others, strict=True)]
        yield "  ".join([name.ljust(first), *cells]).rstrip()
