"""Answers as units: samples of one answer are alike, so that few answers are few units."""

import math
from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Integer
from scipy import special

from ivmethods.statistics.univariate import ALPHA, Interval, finite

FEWEST_ANSWERS = 6  # with fewer, a sign test over answers cannot reach half of 5 %

Clusters = Integer[np.ndarray, " sample"]


def clusters(answers: Sequence[Hashable]) -> Clusters | None:
    """The number of each sample's answer, from 0; None where answers are no units of their own.

    Answers are units where samples share them and there are at least 6. Fewer cannot stand for any
    others (`fixed_answers`).
    """
    numbers = _numbers(answers)
    return numbers if FEWEST_ANSWERS <= len(set(numbers)) < len(numbers) else None


def fixed_answers(answers: Sequence[Hashable]) -> int:
    """How many answers there are where they are too few to stand for any others; else 0."""
    count = len(set(answers))
    return count if count < min(FEWEST_ANSWERS, len(answers)) else 0


def clustered_ratio(
    numerator: Float[np.ndarray, " sample"],
    denominator: Float[np.ndarray, " sample"] | None,
    clusters: Clusters,
    *,
    alpha: float = ALPHA,
    alpha_high: float | None = None,
) -> Interval:
    """mean(numerator) / mean(denominator) over samples, answers having been drawn: by jackknife.

    One answer after the other is left out, and Student's t has as many degrees of freedom as there
    are answers, less one. denominator: None: 1 everywhere. alpha: one-sided error of the lower
    bound, and of the upper one unless `alpha_high` is given. Bounds are infinite where the
    denominator's mean is not above 0 without one of the answers.

    Raises: ValueError on NaN and on no samples.
    Source: Bell & McCaffrey 2002, Survey Methodology 28:169 (the jackknife over clusters, also
    called CR3: of the usual estimates the one that is not too small where clusters are few).
    """
    above = finite(numerator, "numerator", "clustered_ratio")
    below = np.ones_like(above)
    if denominator is not None:
        below = finite(denominator, "denominator", "clustered_ratio")
    top, bottom = (np.bincount(clusters, values) for values in (above, below))
    kept = [np.append(values.sum() - values, values.sum()) for values in (top, bottom)]
    known = kept[1] > 0
    ratios = np.where(known, kept[0] / np.where(known, kept[1], 1.0), np.nan)
    return jackknife(
        float(ratios[-1]),
        ratios[:-1],
        samples=len(above),
        alpha=alpha,
        alpha_high=alpha_high,
    )


def clustered_p(values: Float[np.ndarray, " sample"], clusters: Clusters, *, above: float) -> float:
    """One-sided p-value of "the mean is larger than `above`", by the bounds of `clustered_ratio`.

    Not below 2^-answers, what a sign test over answers could reach: where no two answers differ,
    few of them still show little.
    Raises: ValueError on NaN and on no samples.
    """
    units = int(clusters.max()) + 1
    alone = clustered_ratio(values, None, clusters)
    distance, error = alone.estimate - above, alone.high - alone.estimate
    if error == 0:
        p = 0.0 if distance > 0 else 1.0
    else:
        quantile = float(special.stdtrit(units - 1, 1 - ALPHA))
        p = float(special.stdtr(units - 1, -distance / error * quantile))
    return max(p, 0.5**units)


def jackknife(
    estimate: float,
    left_out: Float[np.ndarray, " unit"],
    *,
    samples: int,
    alpha: float = ALPHA,
    alpha_high: float | None = None,
) -> Interval:
    """The interval of an estimate, from the estimates without each of the units.

    NaN, an estimate that is undefined, makes the bounds infinite.
    Source: Tukey 1958, Annals of Mathematical Statistics 29:614.
    """
    units = len(left_out)
    if units < 2 or math.isnan(estimate) or np.isnan(left_out).any():
        return Interval(estimate, -math.inf, math.inf, samples)
    error = math.sqrt((units - 1) / units * float(((left_out - left_out.mean()) ** 2).sum()))
    at = partial(_around, estimate, error, units, (alpha, alpha_high or alpha))
    return Interval(estimate, *at(ALPHA), samples, at)


def _around(
    estimate: float, error: float, units: int, alphas: tuple[float, float], level: float
) -> tuple[float, float]:
    """Bounds by Student's t, each with its own one-sided alpha at 5 %."""
    low, high = (
        float(special.stdtrit(units - 1, 1 - alpha * (level / ALPHA))) * error for alpha in alphas
    )
    return estimate - low, estimate + high


def intraclass_correlation(
    values: Float[np.ndarray, " sample"], answers: Sequence[Hashable]
) -> tuple[float, float]:
    """How alike the samples of one answer are, and the design effect that this makes.

    The correlation is that of an analysis of variance, at least 0: the share of the variance that
    lies between answers. The design effect is how many times the variance of a mean is that of as
    many samples of different answers: 1 + (mean size of a sample's answer - 1) x correlation.
    NaN where every answer has one sample, where there is one answer, or where values do not vary.

    Raises: ValueError on NaN and on no samples.
    Source: Kish 1965, Survey Sampling, 5.4; Donner & Koval 1980, Biometrics 36:19.
    """
    array, numbers = finite(values, "values", "intraclass_correlation"), _numbers(answers)
    n, sizes = len(array), np.bincount(numbers)
    count = len(sizes)
    if count in (1, n) or np.ptp(array) == 0:
        return math.nan, math.nan
    means = np.bincount(numbers, array) / sizes
    between = float((sizes * (means - array.mean()) ** 2).sum()) / (count - 1)
    within = float(((array - means[numbers]) ** 2).sum()) / (n - count)
    typical = (n - (sizes**2).sum() / n) / (count - 1)
    correlation = max(0.0, (between - within) / (between + (typical - 1) * within))
    return correlation, 1 + (float((sizes**2).sum()) / n - 1) * correlation


def _numbers(answers: Sequence[Hashable]) -> Clusters:
    first = {answer: k for k, answer in enumerate(dict.fromkeys(answers))}
    return np.array([first[answer] for answer in answers], dtype=int)
