"""Drift: how far a cell's per-sample values moved between two runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import optimize, stats

from ivevidence.records.cells import Drift

ALPHA = 0.05
ROUNDING = 1e-9
SINGLE = 1e-5  # of the largest value: so far float32 moves it where sums have another order
SMALLEST_P = 1e-12  # of two means

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
    means are compared unpaired (Welch's t). Bounds are corrected for skewness. Missing values are
    left out, in a pair with its partner. alpha: two-sided, of each series alone.

    Values of which none lies outside [-1, 1] are taken to be bounded: reciprocal ranks,
    probabilities, shares, and effects on them. Samples may hold none of their rare losses. So each
    bound (and p-value) is the wider one of the above and of Gaffke's, which counts one more sample
    at the worst value of a range: from the smallest to the largest value of both runs, 0 and 1
    included. Paired values that are all 0 or 1 are tested by what changed, exactly, instead.
    Unpaired values without a range moved only where Mann and Whitney's ranks tell so, too. Nothing
    is known of other values that all moved alike: they have no bounds, and p is 1; nor of a move
    that is no larger than float32 rounds.

    Source: Johnson 1978, Modified t tests and confidence intervals for asymmetrical populations;
        McNemar 1947, Note on the sampling error of the difference between correlated proportions;
        Mann & Whitney 1947, Annals of Mathematical Statistics 18:50;
        Gaffke 2005, Proc. 5th St. Petersburg Workshop on Simulation, 223 (the bound of a mean);
        Zou & Donner 2008, Statistics in Medicine 27:1693 (from two means to their difference).
    Deviation: of several intervals, each bound is the wider one.
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
            every = np.concatenate([first, second])
            if paired and np.isin(every, (0, 1)).all():
                drift = _exactly(drift, second - first, alpha)
            elif np.abs(every).max() <= 1:
                drift = _boundedly(drift, first, second, alpha)
            elif not paired:
                drift = _by_ranks(drift, first, second, alpha)
            found.append(drift)
    return tuple(found)


def is_beyond(drift: Drift, largest: float) -> bool:
    """Whether the whole interval lies further from zero than `largest`, on either side."""
    above = drift.low is not None and drift.low > largest
    return above or (drift.high is not None and drift.high < -largest)


def are_same(before: Values, after: Values) -> bool:
    """Whether every series that both have holds the same values, to the last digit."""
    return all(list(before[name]) == list(after[name]) for name in before.keys() & after.keys())


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
    # Spread by no more than rounding says nothing of how other samples would have moved.
    largest = max(np.abs(before).max(), np.abs(after).max())
    is_rounding = abs(estimate) + width * error <= SINGLE * largest
    told = not estimate or (error > ROUNDING * largest and not is_rounding)
    return Drift(
        name=name,
        estimate=float(estimate),
        low=float(estimate - width * error + min(shift, 0.0)) if told else None,
        high=float(estimate + width * error + max(shift, 0.0)) if told else None,
        p_value=float(2 * stats.t.sf(abs(estimate) / error, degrees)) if told and error else 1.0,
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
        low=low if drift.low is None else min(drift.low, low),
        high=high if drift.high is None else max(drift.high, high),
        p_value=float(test.pvalue),
    )


def _boundedly(drift: Drift, before: np.ndarray, after: np.ndarray, alpha: float) -> Drift:
    """The drift with Gaffke's bounds and p-value where those are the wider ones."""
    every = np.concatenate([before, after])
    least, most = min(every.min(), 0.0), max(every.max(), 1.0)
    if drift.paired:
        parts = [(after - before, least - most)]
        opposite = [(before - after, least - most)]
    else:
        parts = [(after, least), (-before, -most)]
        opposite = [(-after, -most), (before, least)]
    low, high = _lower_bound(parts, alpha / 2), -_lower_bound(opposite, alpha / 2)
    p_value = min(1.0, 2 * min(_p_above(parts), _p_above(opposite)))
    return replace(
        drift,
        low=low if drift.low is None else min(drift.low, low),
        high=high if drift.high is None else max(drift.high, high),
        # Where the plain test told nothing, this one is all there is.
        p_value=p_value if drift.low is None else max(drift.p_value, p_value),
    )


def _by_ranks(drift: Drift, before: np.ndarray, after: np.ndarray, alpha: float) -> Drift:
    """The drift with a bound at 0 where ranks do not tell it from 0.

    Welch's bounds are wrong too often in the tails that many comparisons look at, where values are
    skewed and one run has fewer samples. Ranks have no such tails.
    """
    if drift.low is None or drift.high is None or not drift.estimate:
        return drift
    side = "greater" if drift.estimate > 0 else "less"
    p_value = 2 * float(stats.mannwhitneyu(after, before, alternative=side).pvalue)
    told = p_value < alpha
    return replace(
        drift,
        low=drift.low if told else min(drift.low, 0.0),
        high=drift.high if told else max(drift.high, 0.0),
        p_value=min(max(drift.p_value, p_value), 1.0),
    )


def _lower_bound(parts: list[tuple[np.ndarray, float]], alpha: float) -> float:
    """Lower bound of a mean, or of the sum of two independent ones, each with its worst value."""
    means = [values.mean() for values, _ in parts]
    below = [mean - _mean_bound(*part, alpha) for mean, part in zip(means, parts, strict=True)]
    return float(sum(means) - math.hypot(*below))


def _p_above(parts: list[tuple[np.ndarray, float]]) -> float:
    """The level at which the lower bound reaches 0; 1 above a half, where nothing is told."""
    if sum(values.mean() for values, _ in parts) <= 0:
        return 1.0
    if len(parts) == 1:
        return _below_p(*parts[0], 0.0)
    if _lower_bound(parts, SMALLEST_P) > 0:
        return SMALLEST_P
    if _lower_bound(parts, 0.5) <= 0:
        return 1.0
    log_p = optimize.brentq(
        lambda log: _lower_bound(parts, math.exp(log)), math.log(SMALLEST_P), math.log(0.5)
    )
    return math.exp(log_p)


def _mean_bound(values: np.ndarray, worst: float, alpha: float) -> float:
    """Gaffke's lower bound of a mean: the alpha quantile of the weighted means of `_below_p`."""
    mean = float(values.mean())
    if worst >= mean or _below_p(values, worst, mean) <= alpha:
        return mean
    return float(optimize.brentq(lambda x: _below_p(values, worst, x) - alpha, worst, mean))


def _below_p(values: np.ndarray, worst: float, threshold: float) -> float:
    """P(a randomly weighted mean <= threshold), of the values and one more at the worst.

    Weights are flat Dirichlet: exponential numbers, over their sum. So it is P(sum of a_i E_i <= 0)
    with a_i = value - threshold, by the saddlepoint approximation, which is close in any tail.

    Source: Lugannani & Rice 1980, Advances in Applied Probability 12:475.
    """
    terms = np.append(values, worst) - threshold
    smallest, largest = terms.min(), terms.max()
    if min(largest, -smallest) <= ROUNDING * max(largest, -smallest):
        return float(largest < -smallest or largest <= 0)
    edges = (1 / smallest * (1 - 1e-12), 1 / largest * (1 - 1e-12))
    at = optimize.brentq(lambda s: (terms / (1 - s * terms)).sum(), *edges)
    spread = float(((terms / (1 - at * terms)) ** 2).sum())
    tilt, log_moment = at * math.sqrt(spread), -float(np.log1p(-at * terms).sum())
    if abs(tilt) < 1e-4:  # the mean itself: only its skewness is left
        skew = 2 * float((terms**3).sum()) / spread**1.5
        return 0.5 + skew / (6 * math.sqrt(2 * math.pi))
    root = math.copysign(math.sqrt(max(-2 * log_moment, 0.0)), at)
    return float(stats.norm.cdf(root) + stats.norm.pdf(root) * (1 / root - 1 / tilt))


def _third_moment(values: np.ndarray) -> float:
    return float(((values - values.mean()) ** 3).mean())


def _same(before: Sequence[str], after: Sequence[str]) -> bool:
    return len({*after}) == len(after) and sorted(before) == sorted(after)


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
