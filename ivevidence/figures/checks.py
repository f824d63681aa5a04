"""Checks that the data of several kinds of figures share.

All raise an EvidenceError that names the field.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ivevidence.records.codec import EvidenceError, Record


def check_length(record: Record, name: str, length: int, of: str) -> None:
    """Refuse a field that does not have one entry for each of `of` (a category, an x)."""
    if len(getattr(record, name)) != length:
        refuse(record, f"len({name})", len(getattr(record, name)), f"{length}, one a {of}")


def check_most(record: Record, name: str, most: int) -> None:
    """Refuse more than `most` entries, which could not be told apart."""
    if len(getattr(record, name)) > most:
        got, advice = len(getattr(record, name)), "split it into several figures"
        refuse(record, f"len({name})", got, f"at most {most}", advice)


def check_bounds(
    record: Record, lows: Sequence[float | None], highs: Sequence[float | None]
) -> None:
    """Refuse intervals whose lower bound is above their upper bound."""
    for k, (low, high) in enumerate(zip(lows, highs, strict=False)):
        if low is not None and high is not None and low > high:
            refuse(record, f"lows[{k}]", low, f"at most highs[{k}]={high}")


def check_range(record: Record, name: str, values: Iterable[float | None], *ends: float) -> None:
    """Refuse values outside [low, high], the two `ends`."""
    low, high = ends
    for value in values:
        if value is not None and not low <= value <= high:
            refuse(record, name, value, f"in [{low:g}, {high:g}]")


def refuse(record: Record, quantity: str, got: Any, expected: str, advice: str = "") -> None:
    """Refuse the data of a figure.

    Raises:
        EvidenceError: always.
    """
    raise EvidenceError(quantity, got, expected, type(record).__name__, advice)
