"""Criteria, and the data that each kind of figure is drawn from."""

import math
from dataclasses import field
from typing import Annotated

from ivevidence.figures.checks import check_bounds, check_most, check_range, refuse
from ivevidence.figures.series import Series, Values, check_series
from ivevidence.records.codec import (
    Count,
    EvidenceError,
    Many,
    Marks,
    Probability,
    Record,
    Value,
    one_of,
)

ALPHA = 0.05
MOST_CLASSES = 12
SIDES = ("above", "below", "within")

Side = Annotated[str, one_of(*SIDES)]


def lead(value: float, threshold: float, side: str) -> float:
    """How far a value is beyond a threshold, on the side that is asked for; below 0: short of it.

    `within` asks for a size below the threshold: equivalence to 0.
    """
    if side == "above":
        return value - threshold
    return threshold - (value if side == "below" else abs(value))


def leads(low: Value, high: Value, threshold: float, side: str) -> tuple[float, float]:
    """The smallest and the largest lead in an interval; None is no bound."""
    least = -math.inf if low is None else low
    most = math.inf if high is None else high
    nearest_0 = min(max(least, 0.0), most)  # where a size is smallest
    inside = [lead(value, threshold, side) for value in (least, nearest_0, most)]
    return min(inside), max(inside)


def edges(threshold: float, side: str) -> tuple[float, ...]:
    """Where the asked side ends: at the threshold, or at both ends of what is within it."""
    return (-threshold, threshold) if side == "within" else (threshold,)


class Criterion(Record):
    """One quantity held against its threshold: estimate, interval, number of samples.

    `side`: the quantity is asked to be `above` the threshold, `below` it, or `within` it on both
    sides of 0. Bounds are None where the quantity is unbounded or undefined on that side. `p_value`
    is that of a test of the asked side, where the rule has one beside the interval, and None
    otherwise; NaN is refused, since dropping it would drop the test. `level` is the smallest one in
    place of the rule's 5 % at which the outcome would still be beyond or short; None where it is
    open, or where the rule cannot tell.
    """

    name: str
    description: str
    estimate: Value
    low: Value
    high: Value
    threshold: float
    n: Count
    p_value: Probability | None = None
    unit: str = ""
    level: Probability | None = None
    side: Side = "above"

    def __post_init__(self) -> None:
        if self.side == "within" and self.threshold <= 0:
            raise EvidenceError("threshold", self.threshold, "above 0, as side=within", "Criterion")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise EvidenceError("low", self.low, f"at most high={self.high}", where="Criterion")

    @property
    def leads(self) -> tuple[float, float]:
        """The smallest and the largest distance beyond the threshold that the interval holds."""
        return leads(self.low, self.high, self.threshold, self.side)

    @property
    def outcome(self) -> str:
        """`beyond` the threshold with its whole interval (and test), `short` of it, or `open`."""
        smallest, largest = self.leads
        if largest < 0:
            return "short"
        tested = self.p_value is None or self.p_value < ALPHA
        return "beyond" if smallest > 0 and tested else "open"

    @property
    def margin(self) -> float | None:
        """Distance of the interval from the threshold, negative if short of it; None if it's in."""
        smallest, largest = self.leads
        if smallest > 0:
            return smallest
        return largest if largest < 0 else None


class Panel(Record):
    """One matrix, `[row][column]`, None where there is no value; `marked` are its marked places."""

    title: str
    values: Many[Values]
    marked: Many[tuple[int, int]] = ()


class Matrix(Record):
    """Values by row and column as colors, several panels side by side on one color scale.

    `limit` is where the scale ends, by default at the largest value; `mark` says what a mark means.
    """

    rows: Many[str]
    columns: Many[str]
    panels: Many[Panel]
    unit: str = ""
    row_label: str = ""
    column_label: str = ""
    limit: Value = None
    mark: str = "marked"

    def __post_init__(self) -> None:
        shape = len(self.rows), len(self.columns)
        most = math.inf if self.limit is None else self.limit
        for k, panel in enumerate(self.panels):
            name, lengths = f"panels[{k}].values", [len(row) for row in panel.values]
            if lengths != [shape[1]] * shape[0]:
                refuse(self, name, lengths, f"{shape[0]} rows of {shape[1]} columns")
            for row in panel.values:
                check_range(self, name, row, -most, most)
            for place in panel.marked:
                if not all(0 <= at < many for at, many in zip(place, shape, strict=True)):
                    refuse(self, f"panels[{k}].marked", list(place), f"in {shape[0]} x {shape[1]}")


class Bars(Record):
    """Bars of several series in each category (a task, a token), side by side or `overlaid`.

    Where overlaid, the first series is a wide pale bar (all of something) behind the others.
    `marks` name categories that matter; `limits` are values that the axis reaches at least, beside
    0. `log`: powers of ten, with a 0 of its own.
    """

    categories: Many[str]
    series: Many[Series]
    unit: str = ""
    threshold: Value = None
    limits: tuple[float, float] | None = None
    marks: Marks = field(default_factory=dict)
    overlaid: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        check_series(self, self.series, len(self.categories), "category")
        check_range(self, "marks", self.marks, 0, len(self.categories) - 1)
        if self.log:
            axis = (self.threshold, *(self.limits or ()))
            check_range(self, "threshold and limits", axis, 0, math.inf)
            for series in self.series:
                check_range(self, f"values of {series.name}", series.drawn, 0, math.inf)


class Lines(Record):
    """Named series over an ordered axis, such as accuracy by layer.

    `limits` are values that the upright axis reaches at least, so that figures can be compared.
    With `levels`, values are places among these names (tokens), from 0 on, the first one on top,
    and `marks` name those that matter.
    """

    x: Many[float]
    series: Many[Series]
    x_label: str = ""
    unit: str = ""
    threshold: Value = None
    limits: tuple[float, float] | None = None
    levels: Many[str] = ()
    marks: Marks = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.x) != sorted(set(self.x)):
            refuse(self, "x", list(self.x), "strictly increasing")
        check_series(self, self.series, len(self.x), "x")
        last = len(self.levels) - 1
        check_range(self, "marks", self.marks, 0, last)
        if self.levels:
            for series in self.series:
                check_range(self, f"values of {series.name}", series.drawn, 0, last)


class PointClass(Record):
    """Points (x, y) of one class; `hollow` are those to tell apart, such as held-out ones."""

    name: str
    points: Many[tuple[float, float]]
    hollow: Many[tuple[float, float]] = ()


class Points(Record):
    """Points in two dimensions by class; `filled` and `hollow` say what such points are."""

    classes: Many[PointClass]
    x_label: str = ""
    y_label: str = ""
    filled: str = "others"
    hollow: str = "told apart"

    def __post_init__(self) -> None:
        check_most(self, "classes", MOST_CLASSES)


class Estimate(Record):
    """An estimate with its bounds, the threshold it is held against, and what came of it.

    `side` is that of its criterion. `outcome` is a verdict or the outcome of a criterion, None
    where nothing was judged.
    """

    name: str
    estimate: Value
    low: Value = None
    high: Value = None
    threshold: Value = None
    outcome: str | None = None
    group: int = 0
    side: Side = "above"

    def __post_init__(self) -> None:
        check_bounds(self, (self.low,), (self.high,))

    @property
    def edges(self) -> tuple[float, ...]:
        """Where the asked side ends."""
        return () if self.threshold is None else edges(self.threshold, self.side)

    @classmethod
    def of(
        cls, name: str, criterion: Criterion | None, outcome: str | None, group: int = 0
    ) -> "Estimate":
        """Return the estimate of a criterion; nothing but its outcome without one."""
        if criterion is None:
            return cls(name, None, outcome=outcome, group=group)
        c = criterion
        return cls(name, c.estimate, c.low, c.high, c.threshold, outcome, group, c.side)


class Intervals(Record):
    """Estimates against their thresholds, a row each.

    On `one_scale`, where all have one unit, and neighbours of one group (checkpoints that follow
    one another) are joined; otherwise each on its own, the threshold in the middle.
    """

    estimates: Many[Estimate]
    unit: str = ""
    one_scale: bool = False


FIGURE_DATA: dict[str, type[Record]] = {
    "matrix": Matrix,
    "bars": Bars,
    "lines": Lines,
    "points": Points,
    "intervals": Intervals,
}
