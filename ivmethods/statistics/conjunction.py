"""Partial conjunction: whether most of several tuples are positive on most of the samples."""

import math
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import fft, stats

from ivmethods.statistics.clusters import Clusters, clustered_p, clustered_ratio
from ivmethods.statistics.univariate import ALPHA, Interval, finite


def majority(count: int) -> int:
    """The smallest number that is more than half of `count`."""
    return count // 2 + 1


def partial_conjunction_p(
    positive: Bool[np.ndarray, "sample tuple"], *, least: int, clusters: Clusters | None = None
) -> float:
    """p-value of "at least `least` of the tuples are positive on more than half of the samples".

    Holm-adjusted p-values answer "which tuples?", each with its own error; this answers "that
    many?", which is one question, so its family-wise error is one alpha. If `least` of m tuples
    were positive, any m - least + 1 of them would include one that is. Two tests of that, of which
    the smaller p-value counts, doubled: the signs of each such subset are summed, and the worst
    subset's p-value is taken (weak evidence adds up over tuples); and the `least`-th smallest
    binomial p-value times m - least + 1 (tuples of the opposite sign do not swamp the others).
    Where the subsets are single tuples the two are the same test.

    The null of the sums is a subset without an effect, where a sample's whole sign vector may flip:
    dependence between tuples is kept as it is. A tie is not positive, so it counts against. For one
    tuple it is the exact binomial test.

    clusters: the number of each sample's answer, where answers are units, too: then p is the larger
    one of this and of the same test over answers. In that, an answer's samples flip together, and
    single tuples are tested as by `clustered_p`.

    Raises: ValueError with more than 12 tuples.
    Source: partial conjunction, Benjamini & Heller 2008, Biometrics 64:1215.
    """
    finite(positive, "positive", "partial_conjunction_p")
    tuples = positive.shape[1]
    if tuples > 12:
        raise ValueError(
            f"tuples={tuples}, but should be at most 12 [partial_conjunction_p]: test fewer "
            "tuples, the number of subsets explodes"
        )
    signs = np.where(positive, 1, -1)
    each = stats.binom.sf(positive.sum(axis=0) - 1, len(positive), 0.5)
    p = _conjunction_p(signs, each, least)
    if clusters is None:
        return p
    of_answers = np.zeros((clusters.max() + 1, tuples), dtype=int)
    np.add.at(of_answers, clusters, signs)
    shares = positive.astype(float)
    each = np.array([clustered_p(column, clusters, above=0.5) for column in shares.T])
    return max(p, _conjunction_p(of_answers, each, least))


def majority_share(
    positive: Bool[np.ndarray, "sample tuple"],
    *,
    clusters: Clusters | None = None,
    alpha: float = ALPHA,
    alpha_high: float = ALPHA,
) -> tuple[Interval, float]:
    """The share of positive samples that the majority of the tuples reaches, and p of above half.

    Estimate: the u-th largest share, u = majority. Bounds: those that `partial_conjunction_p`
    gives, of "the majority is above" for the lower one and "the rest is below" for the upper one;
    next to 0.5 where only the sums of signs tell. Ties are not positive. clusters: as there; then
    each share's bound is the wider one of the exact one and that of `clustered_ratio`.

    Raises: ValueError with more than 12 tuples.
    """
    n, tuples = positive.shape
    u = majority(tuples)
    rest = tuples - u + 1
    counts = positive.sum(axis=0)
    # Each of the two tests that the p-value is made of has half of the alpha.
    halves = [1 if size == 1 else 2 for size in (rest, u)]
    p = partial_conjunction_p(positive, least=u, clusters=clusters)
    opposite = partial_conjunction_p(~positive, least=rest, clusters=clusters)

    def at(level: float) -> tuple[float, float]:
        below, above = (one_sided * (level / ALPHA) for one_sided in (alpha, alpha_high))
        each = below / (rest * halves[0]), above / (u * halves[1])
        lows = np.where(counts > 0, stats.beta.ppf(each[0], counts, n - counts + 1), 0.0)
        highs = np.where(counts < n, stats.beta.isf(each[1], counts + 1, n - counts), 1.0)
        if clusters is not None:
            of_answers = [
                clustered_ratio(column, None, clusters, alpha=each[0], alpha_high=each[1])
                for column in positive.T.astype(float)
            ]
            lows = np.minimum(lows, [interval.low for interval in of_answers])
            highs = np.maximum(highs, [interval.high for interval in of_answers])
        low, high = float(np.sort(lows)[tuples - u]), float(np.sort(highs)[rest - 1])
        low = max(low, math.nextafter(0.5, 1)) if p < below else min(low, 0.5)
        high = min(high, math.nextafter(0.5, 0)) if opposite < above else max(high, 0.5)
        return low, high

    return Interval(float(np.sort(counts)[tuples - u] / n), *at(ALPHA), n, at), p


def _conjunction_p(
    signs: Integer[np.ndarray, "unit tuple"], each: Float[np.ndarray, " tuple"], least: int
) -> float:
    """Both tests, of units that flip as one: signs, or an answer's signs added up.

    each: p-value of every tuple by itself.
    """
    size = signs.shape[1] - least + 1
    subsets = np.array(list(combinations(range(signs.shape[1]), size)))
    summed = float(_flipped_sums_p(signs[:, subsets].sum(axis=2)).max())
    if size == 1:
        return summed
    return min(1.0, 2 * min(summed, size * float(np.sort(each)[least - 1])))


def _flipped_sums_p(sums: Integer[np.ndarray, "unit subset"]) -> Float[np.ndarray, " subset"]:
    """P(sum of +-sums >= sum of sums) per subset, over independent fair flips of each unit.

    The flipped sum of integers a_k has the characteristic function prod cos(a_k t); its discrete
    Fourier transform is the exact distribution (float error about 1e-15).
    """
    sizes = np.abs(sums)
    reach = int(sizes.sum(axis=0).max())
    period = fft.next_fast_len(2 * reach + 1, real=True)
    angle = 2 * np.pi * np.arange(period // 2 + 1) / period
    transform = np.ones((sums.shape[1], len(angle)))
    for value in np.unique(sizes[sizes > 0]):
        counts = np.count_nonzero(sizes == value, axis=0)
        powers = np.cos(value * angle) ** np.arange(counts.max() + 1)[:, None]
        transform *= powers[counts]
    mass = fft.irfft(transform, period, axis=1)
    at_least = np.cumsum(mass[:, np.arange(reach, -reach - 1, -1)], axis=1)
    p = np.take_along_axis(at_least, (reach - sums.sum(axis=0))[:, None], axis=1)[:, 0]
    # The observed signs are one of the flips, so no p-value is below 2^-units.
    return np.clip(p, 0.5 ** len(sums), 1.0)
