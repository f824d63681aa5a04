"""Rows of values with their intervals, which several kinds of figures draw."""

from ivevidence.figures.checks import check_bounds, check_length, check_most
from ivevidence.records.codec import EvidenceError, Many, Record, Value

MOST_SERIES = 10

Values = Many[Value]


class Series(Record):
    """A named row of values with their intervals, None where there is none."""

    name: str
    values: Values
    lows: Values = ()
    highs: Values = ()

    def __post_init__(self) -> None:
        for name in ("lows", "highs"):
            if getattr(self, name):
                check_length(self, name, len(self.values), "value")
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

    @property
    def drawn(self) -> list[float]:
        """All numbers that an axis has to reach."""
        return [v for v in (*self.values, *self.lows, *self.highs) if v is not None]


def check_series(record: Record, found: tuple[Series, ...], length: int, of: str) -> None:
    """Refuse too many series, and those that do not have one value for each of `of`."""
    check_most(record, "series", MOST_SERIES)
    for k, series in enumerate(found):
        try:
            check_length(series, "values", length, of)
        except EvidenceError as error:
            raise error.within(f"series[{k}]", where=type(record).__name__) from None
