"""Bootstrap intervals over samples."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from scipy import stats

from ivmethods.statistics import ALPHA, Interval, finite

BYTES_AT_ONCE = 64 * 2**20


def bootstrap(
    statistic: Callable[..., Float[np.ndarray, " draw"]],
    *arrays: Float[np.ndarray, "sample ..."],
    resamples: int = 10_000,
    seed: int,
    alpha: float = ALPHA,
    alpha_high: float | None = None,
) -> Interval:
    """Interval of a statistic of the samples: expanded percentile bootstrap.

    statistic: takes the arrays as `[draw, sample, ...]`, all with the same resampled samples, and
    returns one number a draw. NaN means undefined: such a draw widens both bounds.
    alpha: one-sided error of the lower bound, and of the upper one unless `alpha_high` is given.

    Percentiles, as shares, medians and order statistics have no usable jackknife for BCa. Plain
    percentiles are too narrow by sqrt((n - 1) / n) and by the normal for Student's t; the tail
    taken here is widened by just that. It has few samples' honesty too: where the tail is beyond
    the resamples' ends, the bound is infinite.

    Raises: ValueError on NaN, on no samples and on arrays of different lengths.
    Source: Hesterberg 2015, The American Statistician 69:371, section 4.2 (expanded percentile).
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
    draws = np.concatenate(
        [
            statistic(*(array[index] for array in checked))
            for index in _resampled(checked, resamples, seed)
        ]
    )
    low = _low(np.where(np.isnan(draws), -np.inf, draws), alpha, n)
    upside_down = np.where(np.isnan(draws), -np.inf, -draws)
    high = -_low(upside_down, alpha if alpha_high is None else alpha_high, n)
    return Interval(estimate, low, high, n)


def _resampled(arrays: list[np.ndarray], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Sample indices `[draw, sample]`, in blocks whose resampled arrays fit in memory."""
    n = len(arrays[0])
    block = max(1, BYTES_AT_ONCE // sum(array.nbytes for array in arrays))
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        yield generator.integers(0, n, size=(min(block, resamples - start), n))


def _low(draws: np.ndarray, alpha: float, n: int) -> float:
    """The draw below which lies the widened lower tail; -inf if no draw lies as low."""
    if n < 2:
        return -math.inf
    tail = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(alpha, n - 1))
    rank = math.floor(tail * (len(draws) + 1)) - 1
    return float(np.partition(draws, rank)[rank]) if rank >= 0 else -math.inf
