"""Drift: how far a cell's per-sample values moved between two runs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from ivevidence.records import Drift

ALPHA = 0.05

Values = Mapping[str, Sequence[float | None]]


def drifts(
    before: Values,
    after: Values,
    *,
    samples_before: Sequence[str],
    samples_after: Sequence[str],
    alpha: float = ALPHA,
) -> tuple[Drift, ...]:
    """The drift of every series of values that both runs have, in the order of `after`.

    Values belong to the named samples. Where both runs have the same samples, each once, values of
    one sample are paired (Student's t of the differences), whatever their order; otherwise the
    means are compared unpaired (Welch's t). Missing values are left out, in a pair with its
    partner. alpha: two-sided, of each series alone.
    """
    paired = _same(samples_before, samples_after)
    found = []
    for name in after:
        if name not in before:
            continue
        first, second = _floats(before[name]), _floats(after[name])
        if paired:
            at = {sample: i for i, sample in enumerate(samples_before)}
            first = first[[at[sample] for sample in samples_after]]
            known = ~np.isnan(first) & ~np.isnan(second)
            first, second = first[known], second[known]
        else:
            first, second = first[~np.isnan(first)], second[~np.isnan(second)]
        if min(len(first), len(second)) >= 2:
            found.append(_drift(name, first, second, paired=paired, alpha=alpha))
    return tuple(found)


def is_beyond(drift: Drift, largest: float) -> bool:
    """Whether the whole interval lies further from zero than `largest`, on either side."""
    above = drift.low is not None and drift.low > largest
    return above or (drift.high is not None and drift.high < -largest)


def _drift(
    name: str, before: np.ndarray, after: np.ndarray, *, paired: bool, alpha: float
) -> Drift:
    if paired:
        differences = after - before
        estimate, degrees = differences.mean(), len(differences) - 1.0
        error = differences.std(ddof=1) / math.sqrt(len(differences))
    else:
        estimate = after.mean() - before.mean()
        parts = [values.var(ddof=1) / len(values) for values in (before, after)]
        error = math.sqrt(sum(parts))
        weights = [
            part**2 / (len(values) - 1) for part, values in zip(parts, (before, after), strict=True)
        ]
        degrees = sum(parts) ** 2 / sum(weights) if error else 1.0
    # No fewer than the signs of so many samples could show by chance: without it, a few samples
    # that happen to move alike would make an interval without width.
    least = 2.0 ** (1 - min(len(before), len(after)))
    p_value = 2 * stats.t.sf(abs(estimate) / error, degrees) if error else float(estimate == 0)
    half = stats.t.isf(alpha / 2, degrees) * error
    enough = least <= alpha
    return Drift(
        name=name,
        estimate=float(estimate),
        low=float(estimate - half) if enough else None,
        high=float(estimate + half) if enough else None,
        p_value=float(max(p_value, least if estimate else 0.0)),
        n=(len(before), len(after)),
        paired=paired,
    )


def _same(before: Sequence[str], after: Sequence[str]) -> bool:
    return len({*after}) == len(after) and sorted(before) == sorted(after)


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
