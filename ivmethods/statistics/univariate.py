"""Tests and summaries of per-sample effects: pure functions on arrays, one-sided at 5 %."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import special, stats

ALPHA = 0.05
MAX_EXACT_FLIPS = 2**16
MAX_SAMPLES_TO_DECIDE = 1_000_000
LEAST_LEVEL = 1e-9


@dataclass(frozen=True)
class Interval:
    """An estimate between two one-sided bounds, in the unit of what is estimated.

    Each bound alone is missed with its own one-sided alpha, 0.05 unless the maker says otherwise
    (both at 0.05: a two-sided 90 % interval). A bound that the samples cannot give is infinite.
    n: number of samples. at: the bounds if the 5 % of its rule were another level, smaller than
    that: the errors of both are scaled alike; None if the maker cannot tell.
    """

    estimate: float
    low: float
    high: float
    n: int
    at: Callable[[float], tuple[float, float]] | None = field(
        default=None, compare=False, repr=False
    )

    def level(self, threshold: float) -> float | None:
        """The smallest level at which the threshold is still outside: its p-value, at most 5 %.

        None where it is inside at 5 %, and where `at` is unknown.
        """
        if self.at is None or self.low <= threshold <= self.high:
            return None
        least, most = math.log(LEAST_LEVEL), math.log(ALPHA)
        for _ in range(20):  # to a relative error below 2e-5
            middle = (least + most) / 2
            low, high = self.at(math.exp(middle))
            is_outside = high < threshold if self.high < threshold else low > threshold
            least, most = (least, middle) if is_outside else (middle, most)
        return min(math.exp(most), ALPHA)


def finite(values: Shaped[np.ndarray, "..."], name: str, where: str) -> Float[np.ndarray, "..."]:
    """The values as float64.

    Raises: ValueError if there are none, or if any is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise ValueError(
            f"{name}=no values, but should be at least one [{where}]: measure samples first"
        )
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise ValueError(
            f"{name}={bad} of {array.size} values NaN or infinite, but should be finite [{where}]: "
            "drop these samples from every array before"
        )
    return array


def binomial_p(positive: Bool[np.ndarray, " sample"]) -> float:
    """Exact one-sided p-value of "positive on more than half of all samples".

    A tie is not positive, so it counts against.
    """
    finite(positive, "positive", "binomial_p")
    return float(stats.binom.sf(int(positive.sum()) - 1, len(positive), 0.5))


def clopper_pearson(
    positive: Bool[np.ndarray, " sample"], *, alpha: float = ALPHA, alpha_high: float | None = None
) -> Interval:
    """Share of positive samples between exact one-sided bounds, at alpha and at alpha_high."""
    finite(positive, "positive", "clopper_pearson")
    n, k = len(positive), int(positive.sum())
    at = partial(_clopper_pearson, k, n, (alpha, alpha_high or alpha))
    return Interval(k / n, *at(ALPHA), n, at)


def _clopper_pearson(
    k: int, n: int, alphas: tuple[float, float], level: float
) -> tuple[float, float]:
    below, above = (alpha * (level / ALPHA) for alpha in alphas)
    low = float(special.betaincinv(k, n - k + 1, below)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - above)) if k < n else 1.0
    return low, high


def wilcoxon_p(values: Float[np.ndarray, " sample"]) -> float:
    """One-sided p-value of "symmetric around something above 0" (Wilcoxon signed rank).

    A tie ranks below everything else and counts against.
    """
    values = finite(values, "values", "wilcoxon_p")
    size = np.abs(values)
    if not size.any():
        return 1.0
    against = np.where(size > 0, values, -size[size > 0].min() / 2)
    return float(stats.wilcoxon(against, alternative="greater").pvalue)


def sign_flip_p(values: Float[np.ndarray, " sample"], *, flips: int = 10_000, seed: int) -> float:
    """One-sided permutation p-value of "mean above 0" against "symmetric around 0".

    Exact over all 2^n sign flips where these are at most 65,536, else over `flips` random ones,
    with the observed signs counted among them.
    """
    values = finite(values, "values", "sign_flip_p")
    n = len(values)
    exact = 2**n <= MAX_EXACT_FLIPS
    if exact:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, size=(flips, n))
    # Sums that are equal on paper differ in the last bits by their order of addition.
    rounding = 1e-12 * np.abs(values).sum()
    reached = int(np.count_nonzero(signs @ values >= values.sum() - rounding))
    return reached / 2**n if exact else (reached + 1) / (flips + 1)


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Holm-adjusted p-values, in the given order: their family-wise error is what they say."""
    p = finite(p_values, "p_values", "holm")
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def ratio_of_means(
    numerator: Float[np.ndarray, "... sample"], denominator: Float[np.ndarray, "... sample"]
) -> Float[np.ndarray, "..."]:
    """mean(numerator) / mean(denominator); NaN where the denominator's mean is not above 0."""
    above, below = numerator.mean(axis=-1), denominator.mean(axis=-1)
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def concentration(mean_effects: Float[np.ndarray, "... tuple"]) -> Float[np.ndarray, "..."]:
    """Smallest fraction of the tuples that holds half of the positive mean effect, in (0, 1].

    1 if no mean effect is positive.
    """
    largest_first = -np.sort(-np.maximum(mean_effects, 0.0), axis=-1)
    held = np.cumsum(largest_first, axis=-1)
    # Equal effects may fall short of their half by a rounding error.
    enough = held >= held[..., -1:] / 2 * (1 - 1e-12)
    fraction = (np.argmax(enough, axis=-1) + 1) / mean_effects.shape[-1]
    return np.where(held[..., -1] > 0, fraction, 1.0)


def sample_size_to_decide(
    interval: Interval, threshold: float, *, p_value: float | None = None
) -> int | None:
    """Samples with which the interval would lie on its estimate's side of the threshold.

    Bounds approach the estimate with 1 / sqrt(n), and so a p-value's normal quantile grows with
    sqrt(n). The interval's own n if it lies there already. None if the estimate equals the
    threshold, if its bound is infinite, or above a million samples. p_value: of a test of that
    side, which has to come below 5 %, too.
    """
    distance = abs(interval.estimate - threshold)
    above = interval.estimate > threshold
    bound = interval.estimate - interval.low if above else interval.high - interval.estimate
    growth = bound / distance if distance else math.inf
    if p_value is not None and p_value >= ALPHA:
        reached = stats.norm.isf(p_value)
        growth = max(growth, stats.norm.isf(ALPHA) / reached if reached > 0 else math.inf)
    growth = max(growth, 1.0)
    needed = interval.n * growth * growth  # infinite where it is too large; ** would raise
    return math.ceil(needed) if needed <= MAX_SAMPLES_TO_DECIDE else None
