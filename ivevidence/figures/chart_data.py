"""What charts are drawn from: lines over layers, scatters, grouped bars, histories."""

from dataclasses import dataclass

from ivevidence.figures.checks import (
    check_bounds,
    check_lengths,
    check_most,
    check_optional_lengths,
)
from ivevidence.records.codec import EvidenceError, Record

MOST_SERIES, MOST_CLASSES = 8, 12


@dataclass(frozen=True)
class Series(Record):
    """A named row of values with their intervals, None where there is none."""

    name: str
    values: tuple[float | None, ...]
    lows: tuple[float | None, ...] = ()
    highs: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_optional_lengths(self, len(self.values), "value", "lows", "highs")
        check_bounds(self, self.lows, self.highs)

    @property
    def intervals(self) -> list[tuple[float, float] | None]:
        """Bounds of each value, None where one of them is missing."""
        if not self.lows or not self.highs:
            return [None] * len(self.values)
        return [
            None if low is None or high is None else (low, high)
            for low, high in zip(self.lows, self.highs, strict=True)
        ]


@dataclass(frozen=True)
class Lines(Record):
    """Named series over a whole-numbered axis, such as accuracy by layer.

    `limits` are values that the upright axis reaches at least, so that figures can be compared.
    """

    x: tuple[int, ...]
    series: tuple[Series, ...]
    x_label: str = "layer"
    unit: str = ""
    threshold: float | None = None
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.x) != sorted(set(self.x)):
            raise EvidenceError("x", list(self.x), "strictly increasing", where="Lines")
        _check_series(self, len(self.x), "x")


@dataclass(frozen=True)
class GroupedBars(Record):
    """Bars of several series (stages) side by side in each category (task).

    `limits` are values that the upright axis reaches at least; it always reaches 0.
    """

    categories: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str = ""
    threshold: float | None = None
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_series(self, len(self.categories), "category")


@dataclass(frozen=True)
class PointClass(Record):
    """Points (x, y) of one class; `held_out` are those that the axes were not fitted on."""

    name: str
    points: tuple[tuple[float, float], ...]
    held_out: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Scatter(Record):
    """Points in two dimensions by class."""

    classes: tuple[PointClass, ...]
    x_label: str = ""
    y_label: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_most(self, "classes", MOST_CLASSES)


@dataclass(frozen=True)
class HistoryPoint(Record):
    """A verdict at one checkpoint, None where there is none, and the criterion it was found with.

    Neighbours of one `group` are joined by a line.
    """

    label: str
    verdict: str | None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    group: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, (self.low,), (self.high,))


@dataclass(frozen=True)
class History(Record):
    """Verdicts and estimates over checkpoints, in order."""

    points: tuple[HistoryPoint, ...]
    unit: str = ""


def _check_series(record: Lines | GroupedBars, length: int, of: str) -> None:
    check_most(record, "series", MOST_SERIES)
    for k, series in enumerate(record.series):
        try:
            check_lengths(series, length, of, "values")
        except EvidenceError as error:
            raise error.within(f"series[{k}]", where=type(record).__name__) from None
