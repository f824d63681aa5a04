"""Bounds of means and ratios of means of bounded quantities, for rare and tied values, too."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float
from scipy import special

from ivmethods.statistics.univariate import ALPHA, Interval, finite

BYTES_AT_ONCE = 64 * 2**20

Bounds = tuple[float, float]


def bounded_ratio(
    numerator: Float[np.ndarray, " sample"],
    denominator: Float[np.ndarray, " sample"] | None = None,
    *,
    lowest: float = -1.0,
    highest: float = 1.0,
    draws: int = 10_000,
    seed: int,
    alpha: float = ALPHA,
    alpha_high: float | None = None,
) -> Interval:
    """mean(numerator) / mean(denominator) between bounds that need no shape of distribution.

    numerator: values in [lowest, highest], as effects in reciprocal rank are in [-1, 1].
    denominator: values in [-1, 1], paired with the numerator's; None: 1 everywhere, so that the
    interval is that of a mean. alpha: one-sided error of the lower bound, and of the upper one
    unless `alpha_high` is given.

    Each draw weighs the samples by a flat Dirichlet distribution, together with one more sample at
    the worst value there could be; the bound is a quantile over draws. Where an effect is rare (a
    jump to rank 1, a loss on one sample in fifty) the samples may hold none, and resampling them
    cannot show what they do not hold: the one more sample stands for it. Bounds are infinite only
    where the denominator's mean is not above 0.

    Raises: ValueError on NaN, on no samples, or on values outside their range.
    Source: Gaffke 2005, Proc. 5th St. Petersburg Workshop on Simulation, 223 (the bound of a mean);
    Learned-Miller & Thomas 2019, arXiv:1905.06208 (it is conjectured to hold for every bounded
    distribution, and was never seen to fail).
    Deviation: a ratio's bound is that of the mean of numerator - bound x denominator.
    """
    above = _within(numerator, "numerator", lowest, highest)
    below = np.ones_like(above)
    if denominator is not None:
        below = _within(denominator, "denominator", -1.0, 1.0)
    edges = (1.0, 1.0) if denominator is None else (-1.0, 1.0)
    mean = float(below.mean())
    estimate = float(above.mean()) / mean if mean > 0 else math.nan
    if mean <= 0:
        return Interval(estimate, -math.inf, math.inf, len(above))
    means = _weighted(np.stack([above, below]), draws=draws, seed=seed)
    upright = _worst(*means, lowest, edges)
    upside_down = _worst(-means[0], *means[1:], -highest, edges)
    at = partial(_quantiles, upright, upside_down, (alpha, alpha_high or alpha))
    return Interval(estimate, *at(ALPHA), len(above), at)


def below_zero_p(
    values: Float[np.ndarray, "sample column"], worst: Float[np.ndarray, " column"]
) -> Float[np.ndarray, " column"]:
    """One-sided p-value per column of a mean below 0, for any distribution up to `worst` (above 0).

    It is the share of Gaffke's weighted means, with one more sample at `worst`, that are not below
    0: for values of yes and no the exact binomial test. Small p-values, as many columns at once ask
    for, would take too many draws, so the tail of that sum of exponential variables comes from its
    saddlepoint (within 4 % of the p-value, and nearly always above it). 1 unless the mean with the
    one more sample is below 0.

    Raises: ValueError on NaN or on no samples.
    Source: `bounded_ratio` (the bound); Lugannani & Rice 1980, Adv. Appl. Prob. 12:475 (the tail).
    """
    y = np.concatenate([finite(values, "values", "below_zero_p"), worst[None]])
    low, high = np.zeros_like(worst), 1 / y.max(axis=0)
    for _ in range(50):
        middle = (low + high) / 2
        is_left = (y / (1 - middle * y)).sum(axis=0) < 0
        low, high = np.where(is_left, middle, low), np.where(is_left, high, middle)
    depth = np.log1p(-low * y).sum(axis=0)
    is_tail = depth > 1e-6
    root = np.sqrt(2 * np.where(is_tail, depth, 1.0))
    slope = low * np.sqrt(((y / (1 - low * y)) ** 2).sum(axis=0))
    normal = np.exp(-(root**2) / 2) / math.sqrt(2 * math.pi)
    tail = special.ndtr(-root) + normal * (1 / np.where(is_tail, slope, 1.0) - 1 / root)
    return np.where(is_tail, tail, 1.0)


def wider(first: Interval, second: Interval) -> Interval:
    """The first interval with the wider one of both bounds on each side."""
    return _joined(first, second, _widest)


def backed(resampled: Interval, bounded: Interval) -> Interval:
    """As `wider`, but the second interval's bound alone where the first has none: it is infinite.

    Resampling may give no bound of a bounded quantity, where samples are very skewed. That of
    `bounded_ratio` holds by itself.
    """
    return _joined(resampled, bounded, _widest_finite)


def above_all(interval: Interval, others: Sequence[Interval]) -> Interval:
    """The interval with the smallest lower bound of all of them.

    It is above a threshold where each of them is: an intersection-union test.
    Source: Berger 1982, Technometrics 24:295.
    """
    for other in others:
        interval = _joined(interval, other, _lower)
    return interval


def _joined(
    first: Interval, second: Interval, join: Callable[[Bounds, Bounds], Bounds]
) -> Interval:
    of_first, of_second = first.at, second.at
    if of_first is None or of_second is None:
        bounds = join((first.low, first.high), (second.low, second.high))
        return Interval(first.estimate, *bounds, first.n)
    at = partial(_joined_at, of_first, of_second, join)
    return Interval(first.estimate, *at(ALPHA), first.n, at)


def _joined_at(
    first: Callable[[float], Bounds],
    second: Callable[[float], Bounds],
    join: Callable[[Bounds, Bounds], Bounds],
    level: float,
) -> Bounds:
    return join(first(level), second(level))


def _widest(first: Bounds, second: Bounds) -> Bounds:
    return min(first[0], second[0]), max(first[1], second[1])


def _lower(first: Bounds, second: Bounds) -> Bounds:
    return min(first[0], second[0]), first[1]


def _widest_finite(first: Bounds, second: Bounds) -> Bounds:
    low, high = (a if math.isfinite(a) else b for a, b in zip(first, second, strict=True))
    return _widest((low, high), second)


def _within(
    values: Float[np.ndarray, " sample"], name: str, lowest: float, highest: float
) -> Float[np.ndarray, " sample"]:
    array = finite(values, name, "bounded_ratio")
    # float32 ranks are rounded
    outside = array[(array < lowest - 1e-6) | (array > highest + 1e-6)]
    if outside.size:
        raise ValueError(
            f"{name}={outside[0]:g}, but should be from {lowest:g} to {highest:g} [bounded_ratio]: "
            "state the range of the quantity, or use a bound for unbounded ones"
        )
    return array


def _weighted(
    arrays: Float[np.ndarray, "2 sample"], *, draws: int, seed: int
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """The arrays' parts of the weighted means of each draw, and the weight of one more sample."""
    n = arrays.shape[1]
    block = max(1, BYTES_AT_ONCE // (8 * (n + 1)))
    blocks = (
        [_weights(draws, n + 1, seed)] if draws <= block else _blocks(draws, n + 1, seed, block)
    )
    parts = [np.vstack([arrays @ weights[:, :n].T, weights[:, n]]) for weights in blocks]
    above, below, weight = np.concatenate(parts, axis=1)
    return above, below, weight


@lru_cache(maxsize=2)  # one cell asks for many bounds with the same samples and seed
def _weights(draws: int, count: int, seed: int) -> Float[np.ndarray, "draw weight"]:
    (weights,) = _blocks(draws, count, seed, draws)
    return weights


def _blocks(
    draws: int, count: int, seed: int, block: int
) -> Iterator[Float[np.ndarray, "draw weight"]]:
    """So many weights of flat Dirichlet distributions, at most `block` draws at once."""
    generator = np.random.default_rng(seed)
    for start in range(0, draws, block):
        weights = generator.exponential(size=(min(block, draws - start), count))
        yield weights / weights.sum(axis=1, keepdims=True)


def _worst(
    above: Float[np.ndarray, " draw"],
    below: Float[np.ndarray, " draw"],
    weight: Float[np.ndarray, " draw"],
    lowest: float,
    edges: tuple[float, float],
) -> Float[np.ndarray, " draw"]:
    """Ratios with one more sample at the worst numerator and denominator, in ascending order.

    A larger denominator lowers a positive ratio, a smaller one a negative ratio.
    """
    top = above + weight * lowest
    bottom = below + weight * np.where(top > 0, edges[1], edges[0])
    return np.sort(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), -np.inf))


def _quantiles(
    upright: Float[np.ndarray, " draw"],
    upside_down: Float[np.ndarray, " draw"],
    alphas: tuple[float, float],
    level: float,
) -> Bounds:
    low, high = (alpha * (level / ALPHA) for alpha in alphas)
    return _quantile(upright, low), -_quantile(upside_down, high)


def _quantile(ordered: Float[np.ndarray, " draw"], alpha: float) -> float:
    """The lower bound that ordered draws give; infinite where they are too few."""
    rank = math.floor(alpha * (len(ordered) + 1))
    return float(ordered[rank - 1]) if rank else -math.inf
