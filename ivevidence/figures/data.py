"""Criteria, and the data that each kind of figure is drawn from."""

import math
from dataclasses import field

from ivevidence.figures.checks import check_bounds, check_most, check_range, refuse
from ivevidence.figures.series import Series, Values, check_series
from ivevidence.records.codec import Count, EvidenceError, Many, Marks, Probability, Record, Value

ALPHA = 0.05
MOST_CLASSES = 12


class Criterion(Record):
    """One quantity held against its threshold: estimate, interval, number of samples.

    Bounds are None where the quantity is unbounded or undefined on that side. `p_value`, where the
    rule has a test beside the interval, is None otherwise; NaN is refused, since dropping it would
    drop the test. `level` is the smallest one in place of the rule's 5 % at which the outcome would
    still be beyond or short; None where it is open, or where the rule cannot tell.
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

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise EvidenceError("low", self.low, f"at most high={self.high}", where="Criterion")

    @property
    def outcome(self) -> str:
        """`beyond` the threshold with its whole interval (and test), `short` of it, or `open`."""
        if self.high is not None and self.high < self.threshold:
            return "short"
        tested = self.p_value is None or self.p_value < ALPHA
        if self.low is not None and self.low > self.threshold and tested:
            return "beyond"
        return "open"

    @property
    def margin(self) -> float | None:
        """Signed distance from the threshold to the interval; None if the threshold is inside."""
        if self.low is not None and self.low > self.threshold:
            return self.low - self.threshold
        if self.high is not None and self.high < self.threshold:
            return self.high - self.threshold
        return None


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

    `outcome` is a verdict or the outcome of a criterion, None where nothing was judged.
    """

    name: str
    estimate: Value
    low: Value = None
    high: Value = None
    threshold: Value = None
    outcome: str | None = None
    group: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, (self.low,), (self.high,))

    @classmethod
    def of(
        cls, name: str, criterion: Criterion | None, outcome: str | None, group: int = 0
    ) -> "Estimate":
        """Return the estimate of a criterion; nothing but its outcome without one."""
        if criterion is None:
            return cls(name, None, outcome=outcome, group=group)
        c = criterion
        return cls(name, c.estimate, c.low, c.high, c.threshold, outcome, group)


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
