"""Head activity: how often the high-ranking paths of a token run through each head."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy import special, stats

from ivmethods.statistics.bounded import below_zero_p
from ivmethods.statistics.univariate import ALPHA, holm

ACTIVE = 0.1
BYTES_AT_ONCE = 64 * 2**20


@dataclass(frozen=True)
class HeadActivity:
    """Activity of every head at one token: the share of its high-ranking paths that use the head.

    mean: over samples, in [0, 1], between two-sided 95 % bounds `low` and `high`.
    expected: what the mean would be if the paths were drawn from all paths of the token.
    p_value: two-sided, of that null; `holm`: adjusted over all heads.
    n: number of samples that have a high-ranking path.
    """

    mean: Float[np.ndarray, "layer head"]
    low: Float[np.ndarray, "layer head"]
    high: Float[np.ndarray, "layer head"]
    expected: Float[np.ndarray, "layer head"]
    p_value: Float[np.ndarray, "layer head"]
    holm: Float[np.ndarray, "layer head"]
    n: int


def head_activity(
    activity: Float[np.ndarray, "sample layer head"],
    expected: Float[np.ndarray, "sample layer head"],
    *,
    high_ranking: Real[np.ndarray, " sample"],
    paths: Float[np.ndarray, " sample"],
    resamples: int = 10_000,
    seed: int = 0,
) -> HeadActivity:
    """Mean activity of every head with its bootstrap bounds, against paths drawn at random.

    activity: share of a sample's high-ranking paths that use the head, in [0, 1]; NaN without any:
    such samples are dropped.
    expected: the same share of all paths of the token, high-ranking or not.
    high_ranking, paths: how many paths the two shares are of. Infinitely many `paths` where the
    high-ranking ones were found by sampling, each draw from all paths anew.

    The bounds are bootstrap percentiles widened for small samples (as in `bootstrap`), infinite
    where the samples cannot give them. The null: the same number of paths, drawn without
    replacement, so a sample's share is hypergeometric. Of the mean's distribution the first three
    moments are exact. Its tails are the larger ones of the normal distribution and of the Pearson
    III (shifted gamma) with these moments, corrected for the step of a share: close for heads that
    many paths use, too large for others. The normal one alone would be too bold where hardly any
    path uses a head, the other one where samples differ much in their numbers of paths.

    Raises: ValueError if no sample has a high-ranking path.
    Source: section 6.1, "Attention Head Activity"; appendix F.1.
    Deviation: the paper tests against Gaussian noise, which no head is expected to follow. A head
    may be on many paths just because it attends widely; drawn paths have that, too.
    """
    kept = with_paths(activity)
    n = int(kept.sum())
    if not n:
        raise ValueError(
            f"samples with a high-ranking path=0 of {len(activity)}, but should be at least 1 "
            "[head_activity]: there is no activity to speak of at this token"
        )
    shares = activity[kept].reshape(n, -1)
    drawn = np.clip(expected[kept].reshape(n, -1), 0, 1)  # a rounding error is no chance
    p = _drawn_p(shares, drawn, high_ranking[kept].astype(np.float64), paths[kept])
    low, high = _mean_bounds(shares, resamples=resamples, seed=seed)
    shape = activity.shape[1:]
    return HeadActivity(
        mean=shares.mean(axis=0).reshape(shape),
        low=low.reshape(shape),
        high=high.reshape(shape),
        expected=drawn.mean(axis=0).reshape(shape),
        p_value=p.reshape(shape),
        holm=holm(p).reshape(shape),
        n=n,
    )


def with_paths(*activities: Float[np.ndarray, "sample layer head"]) -> Bool[np.ndarray, " sample"]:
    """Samples that have a high-ranking path in every array: none of their values is NaN."""
    return ~np.any([np.isnan(each).any(axis=(1, 2)) for each in activities], axis=0)


def active(mean: Float[np.ndarray, "*heads"]) -> Bool[np.ndarray, "*heads"]:
    """Whether a head is active: mean activity above 0.1.

    Source: Table 3.
    """
    return mean > ACTIVE


def side_p(activity: Float[np.ndarray, "sample head"]) -> Float[np.ndarray, " head"]:
    """One-sided p-value per head of its mean activity being on its side of 0.1: small if told.

    A head has one side, and only to take it for the other is an error: so one-sided. Activities
    are shares in [0, 1], often all or nothing; the test asks for no other shape (`below_zero_p`).
    """
    is_active = active(activity.mean(axis=0))
    beyond = np.where(is_active, ACTIVE - activity, activity - ACTIVE)
    return below_zero_p(beyond, np.where(is_active, ACTIVE, 1 - ACTIVE))


def samples_to_tell_idle(tests: int) -> int:
    """Samples with which a head that is never used can be told from 0.1, as one of so many tests.

    A head that is used in 10 % of the samples is in none of n with a chance of 0.9^n, which
    `side_p` is within 4 % of.
    """
    return math.ceil(math.log(ALPHA / (1.04 * tests)) / math.log(1 - ACTIVE))


def first_fifth(n_layers: int) -> range:
    """The first fifth of the layers, one at least.

    Source: Tables 22-24 (layers 0-2 of 16).
    """
    return range(max(1, round(n_layers / 5)))


def last_third(n_layers: int) -> range:
    """The last third of the layers.

    Source: Tables 22-24 (layers 10-15 of 16).
    """
    return range(n_layers - math.ceil(n_layers / 3), n_layers)


def spearman(
    first: Float[np.ndarray, "layer head"], second: Float[np.ndarray, "layer head"]
) -> Float[np.ndarray, " layer"]:
    """Spearman's r over the heads of each layer, say of the mean activities at two k.

    NaN where all heads of a layer are equally active.

    Source: Table 2.
    """
    ranks = [stats.rankdata(each, axis=1) for each in (first, second)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(spread > 0, (x * y).sum(axis=1) / np.where(spread > 0, spread, 1.0), np.nan)


def _drawn_p(
    shares: Float[np.ndarray, "sample head"],
    expected: Float[np.ndarray, "sample head"],
    drawn: Float[np.ndarray, " sample"],
    paths: Float[np.ndarray, " sample"],
) -> Float[np.ndarray, " head"]:
    """Two-sided p-value of the mean share, were every sample's paths drawn at random."""
    # Drawing without replacement narrows the spread: nothing is left to chance if all are drawn.
    left = np.clip(1 - (drawn - 1) / np.maximum(paths - 1, 1), 0, 1)
    tilt = 1 - 2 * (drawn - 1) / np.maximum(paths - 2, 1)
    n = len(shares)
    variance = ((left / drawn) @ (expected * (1 - expected))) / n**2
    third = ((left * tilt / drawn**2) @ (expected * (1 - expected) * (1 - 2 * expected))) / n**3
    certain = variance == 0
    deviation = np.sqrt(np.where(certain, np.finfo(float).tiny, variance))
    skew = np.where(certain, 0.0, third / np.where(certain, 1.0, variance) / deviation)
    difference = (shares - expected).mean(axis=0)
    # Half of the smallest step of the mean, but not less than what single precision rounds off.
    half_step = max(0.5 / (drawn.max() * n), 1e-7)
    above, below = (difference - half_step) / deviation, (difference + half_step) / deviation
    at_least = np.maximum(stats.norm.sf(above), stats.pearson3.sf(above, skew))
    at_most = np.maximum(stats.norm.cdf(below), stats.pearson3.cdf(below, skew))
    return np.minimum(1.0, 2 * np.minimum(at_least, at_most))


def _mean_bounds(
    values: Float[np.ndarray, "sample head"], *, resamples: int, seed: int
) -> tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]:
    """Two-sided 95 % bounds of each column's mean, all columns under the same resamples."""
    n, heads = values.shape
    low, high = np.full(heads, -np.inf), np.full(heads, np.inf)
    if n < 2:
        return low, high
    tail = special.ndtr(math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, ALPHA / 2))
    rank = math.floor(tail * (resamples + 1)) - 1
    if rank < 0:
        return low, high
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples) / n
    block = max(1, BYTES_AT_ONCE // (8 * resamples))
    for start in range(0, heads, block):
        columns = slice(start, start + block)
        means = np.partition(draws @ values[:, columns], (rank, resamples - 1 - rank), axis=0)
        low[columns], high[columns] = means[rank], means[resamples - 1 - rank]
    return low, high
