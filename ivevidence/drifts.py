"""Drift: how far a cell's per-sample values moved between two runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    means are compared unpaired (Welch's t). Bounds are corrected for skewness. Paired values that
    are all 0 or 1 are tested by what changed, exactly, and their bounds hold the exact ones, too.
    Missing values are left out, in a pair with its partner. alpha: two-sided, of each series alone.

    Source: Johnson 1978, Modified t tests and confidence intervals for asymmetrical populations;
        McNemar 1947, Note on the sampling error of the difference between correlated proportions.
    Deviation: of both intervals, each bound is the wider one.
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
            drift = _drift(name, first, second, paired=paired, alpha=alpha)
            yes_no = paired and np.isin([first, second], (0, 1)).all()
            found.append(_exactly(drift, second - first, alpha) if yes_no else drift)
    return tuple(found)


def is_beyond(drift: Drift, largest: float) -> bool:
    """Whether the whole interval lies further from zero than `largest`, on either side."""
    above = drift.low is not None and drift.low > largest
    return above or (drift.high is not None and drift.high < -largest)


def _drift(
    name: str, before: np.ndarray, after: np.ndarray, *, paired: bool, alpha: float
) -> Drift:
    parts = [(after - before, 1)] if paired else [(after, 1), (before, -1)]
    estimate = sum(sign * values.mean() for values, sign in parts)
    variances = [values.var(ddof=1) / len(values) for values, _ in parts]
    error = math.sqrt(sum(variances))
    degrees = 1.0
    if error:
        shares = [variance / sum(variances) for variance in variances]
        freedom = [len(values) - 1 for values, _ in parts]
        degrees = 1 / sum(share**2 / free for share, free in zip(shares, freedom, strict=True))
    width = stats.t.isf(alpha / 2, degrees)
    # Third cumulant of the estimate, in its squared error: the bound on the side of the longer
    # tail is moved outwards (Johnson 1978), the other one stays.
    skew = sum(sign * _third_moment(values) / len(values) ** 2 for values, sign in parts)
    shift = skew / (6 * error**2) * (1 + 2 * width**2) if error else 0.0
    # So many samples could show by chance that they all moved alike: where that is likelier than
    # alpha, there are no bounds, not bounds without width.
    least = 2.0 ** (1 - min(len(before), len(after)))
    p_value = 2 * stats.t.sf(abs(estimate) / error, degrees) if error else float(estimate == 0)
    enough = least <= alpha
    return Drift(
        name=name,
        estimate=float(estimate),
        low=float(estimate - width * error + min(shift, 0.0)) if enough else None,
        high=float(estimate + width * error + max(shift, 0.0)) if enough else None,
        p_value=float(max(p_value, least if estimate else 0.0)),
        n=(len(before), len(after)),
        paired=paired,
    )


def _exactly(drift: Drift, changes: np.ndarray, alpha: float) -> Drift:
    """The drift with McNemar's exact p-value, and bounds no narrower than his.

    Of the samples that changed, the share that rose has Clopper and Pearson's bounds. They take the
    number of changes as given, so that for many samples Student's bounds are the wider ones.

    changes: after minus before, each -1, 0 or 1.
    """
    rose, changed = int((changes > 0).sum()), int((changes != 0).sum())
    if not changed:
        return drift
    test = stats.binomtest(rose, changed)
    share = test.proportion_ci(1 - alpha, "exact")
    low, high = ((2 * bound - 1) * changed / len(changes) for bound in (share.low, share.high))
    return replace(
        drift,
        low=None if drift.low is None else min(drift.low, low),
        high=None if drift.high is None else max(drift.high, high),
        p_value=float(test.pvalue),
    )


def _third_moment(values: np.ndarray) -> float:
    return float(((values - values.mean()) ** 3).mean())


def _same(before: Sequence[str], after: Sequence[str]) -> bool:
    return len({*after}) == len(after) and sorted(before) == sorted(after)


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
