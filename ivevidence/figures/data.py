"""Criteria, and the data that each kind of figure is drawn from."""

import numbers
from dataclasses import dataclass

from ivevidence.figures.chart_data import GroupedBars, History, Lines, Scatter
from ivevidence.figures.checks import check_lengths, check_position
from ivevidence.figures.path_data import HeadMaps, PathBars, Trajectories
from ivevidence.records.codec import EvidenceError, Record, check_count

ALPHA = 0.05


@dataclass(frozen=True)
class Criterion(Record):
    """One quantity held against its threshold: estimate, interval, number of samples.

    Bounds are None where the quantity is unbounded or undefined on that side. `p_value`, where the
    rule has a test beside the interval, is None otherwise; NaN is refused, since dropping it would
    drop the test. `level` is the smallest one in place of the rule's 5 % at which the outcome would
    still be beyond or short; None where it is open, or where the rule cannot tell.
    """

    name: str
    description: str
    estimate: float | None
    low: float | None
    high: float | None
    threshold: float
    n: int
    p_value: float | None = None
    unit: str = ""
    level: float | None = None

    def __post_init__(self) -> None:
        for name in ("p_value", "level"):
            value = getattr(self, name)
            if isinstance(value, numbers.Real) and not 0 <= float(value) <= 1:
                raise EvidenceError(name, value, "in [0, 1] or None", where="Criterion")
        super().__post_init__()
        check_count("n", self.n, "Criterion")
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


@dataclass(frozen=True)
class Heatmap(Record):
    """Values of pairs of layers (i < j) and of single layers (i = j); None elsewhere.

    `highlight` lists pairs of layers to outline; `limit` fixes the end of the color scale, so that
    several maps can share it.
    """

    layers: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    unit: str
    highlight: tuple[tuple[int, int], ...] = ()
    limit: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.layers)
        if len(self.values) != count or any(len(row) != count for row in self.values):
            shape = [len(row) for row in self.values]
            raise EvidenceError("values", shape, f"{count} rows of {count}", where="Heatmap")
        for pair in self.highlight:
            if not set(pair) <= set(self.layers):
                expected = "pairs of layers of the map"
                raise EvidenceError("highlight", list(pair), expected, where="Heatmap")


@dataclass(frozen=True)
class Positions(Record):
    """One value with its interval for each token of a prompt; `t_inst` is the index of T_inst."""

    tokens: tuple[str, ...]
    values: tuple[float | None, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]
    t_inst: int | None
    unit: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lengths(self, len(self.tokens), "token", "values", "lows", "highs")
        check_position(self, len(self.tokens), "t_inst")


@dataclass(frozen=True)
class Intervals(Record):
    """Criteria to be drawn against their thresholds."""

    criteria: tuple[Criterion, ...]


FIGURE_DATA: dict[str, type[Record]] = {
    "heatmap": Heatmap,
    "positions": Positions,
    "intervals": Intervals,
    "path_bars": PathBars,
    "head_maps": HeadMaps,
    "trajectories": Trajectories,
    "lines": Lines,
    "scatter": Scatter,
    "grouped_bars": GroupedBars,
    "history": History,
}
