"""Bootstrap intervals over samples."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float, Integer, Shaped
from scipy import special

from ivmethods.statistics.univariate import ALPHA, Interval, finite

BYTES_AT_ONCE = 64 * 2**20

Statistic = Callable[..., Float[np.ndarray, " draw"]]


def bootstrap(
    statistic: Statistic,
    *arrays: Shaped[np.ndarray, "..."],
    smooth: bool,
    resamples: int = 10_000,
    seed: int,
    alpha: float = ALPHA,
    alpha_high: float | None = None,
) -> Interval:
    """Interval of a statistic of the samples: bootstrap with tails widened for small samples.

    arrays: `[sample, ...]` each, paired.
    statistic: takes the arrays as `[draw, sample, ...]`, all with the same resampled samples, and
    returns one number a draw. NaN means undefined: such a draw widens both bounds.
    smooth: whether it is a smooth function of means. Effects are skewed (most samples do nothing,
    some jump to rank 1), which makes percentiles one-sidedly too bold, so smooth statistics get
    BCa bounds. Counts, medians and order statistics have no usable jackknife: they get percentiles.
    alpha: one-sided error of the lower bound, and of the upper one unless `alpha_high` is given.

    Normal quantiles are replaced by Student's t times sqrt(n / (n - 1)), as bootstrap tails are too
    short by just that. A bound is infinite where the samples cannot give it: too few of them, or a
    tail beyond all resamples.

    Raises: ValueError on NaN, on no samples and on arrays of different lengths.
    Source: Efron 1987, JASA 82:171 (BCa); Hesterberg 2015, The American Statistician 69:371
    (the widening).
    """
    checked = [finite(array, "effects", "bootstrap") for array in arrays]
    n = len(checked[0])
    lengths = sorted({len(array) for array in checked})
    if len(lengths) > 1:
        raise ValueError(
            f"samples={lengths}, but should be the same in every array [bootstrap]: "
            "pass arrays of the same samples in the same order"
        )
    estimate = float(statistic(*(array[None] for array in checked))[0])
    if n < 2 or math.isnan(estimate):
        return Interval(estimate, -math.inf, math.inf, n)
    indices = np.random.default_rng(seed).integers(0, n, size=(resamples, n), dtype=np.int32)
    draws = _on_resamples(statistic, checked, indices)
    bias = acceleration = 0.0
    if smooth:
        bias = _bias(draws, estimate)
        acceleration = _acceleration(_on_resamples(statistic, checked, _all_but_one(n)))
    # Seen upside down, the upper bound is a lower one, with bias and acceleration reversed.
    upright = _low(draws, n, bias, acceleration)
    upside_down = _low(-draws, n, -bias, -acceleration)
    at = partial(_bounds, upright, upside_down, (alpha, alpha_high or alpha))
    return Interval(estimate, *at(ALPHA), n, at)


def _bounds(
    upright: Callable[[float, float], float],
    upside_down: Callable[[float, float], float],
    alphas: tuple[float, float],
    level: float,
) -> tuple[float, float]:
    share = level / ALPHA
    low, high = (alpha * share for alpha in alphas)
    return upright(low, share), -upside_down(high, share)


def _on_resamples(
    statistic: Statistic, arrays: list[np.ndarray], indices: Integer[np.ndarray, "draw sample"]
) -> Float[np.ndarray, " draw"]:
    """The statistic of every resample, in blocks whose resampled arrays fit in memory."""
    block = max(1, BYTES_AT_ONCE // sum(array.nbytes for array in arrays))
    return np.concatenate(
        [
            statistic(*(array[indices[start : start + block]] for array in arrays))
            for start in range(0, len(indices), block)
        ]
    )


def _all_but_one(n: int) -> Integer[np.ndarray, "draw sample"]:
    kept = np.arange(n - 1)[None, :]
    return kept + (kept >= np.arange(n)[:, None])


def _bias(draws: Float[np.ndarray, " draw"], estimate: float) -> float:
    """Normal quantile of the share of draws below the estimate; equal ones count half."""
    below = np.mean(draws < estimate) + np.mean(draws == estimate) / 2
    edge = 1 / (len(draws) + 1)
    return float(special.ndtri(np.clip(below, edge, 1 - edge)))


def _acceleration(left_out: Float[np.ndarray, " sample"]) -> float:
    """A sixth of the skewness of the samples' influence, from the jackknife."""
    influence = left_out.mean() - left_out
    spread = math.sqrt(float((influence**2).sum()))
    return float(((influence / spread) ** 3).sum()) / 6 if spread else 0.0


def _low(
    draws: Float[np.ndarray, " draw"], n: int, bias: float, acceleration: float
) -> Callable[[float, float], float]:
    """One-sided lower BCa bound by its alpha; percentile if bias and acceleration are 0.

    It also takes which share of the rule's alpha that is. A small share of its tail is a small
    share of the resamples: BCa alone would stop at 1 / acceleration, however small alpha is.
    """
    ordered = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    return partial(_bound, ordered, partial(_tail, n, bias, acceleration))


def _bound(
    ordered: Float[np.ndarray, " draw"],
    tail: Callable[[float], float],
    alpha: float,
    share: float,
) -> float:
    most = tail(alpha / share) * share
    rank = min(math.floor(min(tail(alpha), most) * (len(ordered) + 1)), len(ordered)) - 1
    return float(ordered[rank]) if rank >= 0 else -math.inf


def _tail(n: int, bias: float, acceleration: float, alpha: float) -> float:
    """Which share of the resamples is below the bound."""
    shifted = bias + math.sqrt(n / (n - 1)) * float(special.stdtrit(n - 1, alpha))
    room = 1 - acceleration * shifted
    return float(special.ndtr(bias + shifted / room)) if room > 0 else 0.0
