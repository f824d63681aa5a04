"""Checks that the data of several kinds of figures share.

All raise an EvidenceError that names the field.
"""

from collections.abc import Sequence
from typing import Any

from ivevidence.records.codec import EvidenceError, Record


def check_lengths(record: Record, length: int, of: str, *names: str) -> None:
    """Refuse fields that do not have one entry for each of `of` (a token, a layer)."""
    for name in names:
        if len(getattr(record, name)) != length:
            expected = f"{length}, one a {of}"
            _refuse(record, f"len({name})", len(getattr(record, name)), expected)


def check_optional_lengths(record: Record, length: int, of: str, *names: str) -> None:
    """Refuse fields that are neither empty nor have one entry for each of `of`."""
    check_lengths(record, length, of, *(name for name in names if getattr(record, name)))


def check_position(record: Record, length: int, *names: str) -> None:
    """Refuse positions that are not among `length` tokens; None is no position."""
    for name in names:
        position = getattr(record, name)
        if position is not None and not 0 <= position < length:
            _refuse(record, name, position, f"a position among {length} tokens")


def check_range(
    record: Record, name: str, values: Sequence[float | None], low: float, high: float
) -> None:
    """Refuse values outside [low, high]."""
    for k, value in enumerate(values):
        if value is not None and not low <= value <= high:
            _refuse(record, f"{name}[{k}]", value, f"in [{low:g}, {high:g}]")


def check_bounds(
    record: Record, lows: Sequence[float | None], highs: Sequence[float | None]
) -> None:
    """Refuse intervals whose lower bound is above their upper bound."""
    for k, (low, high) in enumerate(zip(lows, highs, strict=False)):
        if low is not None and high is not None and low > high:
            _refuse(record, f"lows[{k}]", low, f"at most highs[{k}]={high}")


def check_most(record: Record, name: str, most: int) -> None:
    """Refuse more than `most` entries, which could not be told apart."""
    if len(getattr(record, name)) > most:
        got, expected = len(getattr(record, name)), f"at most {most}"
        raise EvidenceError(
            f"len({name})", got, expected, type(record).__name__, "split it into several figures"
        )


def _refuse(record: Record, quantity: str, got: Any, expected: str) -> None:
    raise EvidenceError(quantity, got, expected, where=type(record).__name__)
