"""Resemblance of sweeps: whether two checkpoints have their effects at the same tuples."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Integer

from ivmethods.statistics.clusters import jackknife
from ivmethods.statistics.univariate import ALPHA, Interval, finite


class Sweeps:
    """Sweeps of several checkpoints over the same samples and tuples, made comparable.

    The correlation of two checkpoints' mean effects over tuples mixes three things: whether the
    effects are at the same tuples, how noisy the means are (noise pulls it to 0, most of all for a
    checkpoint with small effects), and what the two make of the same queries (shared noise pushes
    it up). Only the first is resemblance. So each covariance over tuples is taken between effects
    on *different* samples, and averaged over all ordered pairs of them: its expectation is that of
    the noise-free means, whatever the sample size.

    Where samples of one answer are alike, only those of different answers are different samples:
    pass `units`. Bounds are by jackknife over units. On simulated sweeps they err as seldom as BCa
    bounds, have more power, and are finite where one checkpoint's effects are small.

    Correlations may exceed 1 a little, and say nothing where a checkpoint's effects on different
    units do not agree on a pattern; they are NaN where its own covariance is not above 0.

    Deviation: section 5.1 compares heat maps by eye; there is no statistic.
    """

    def __init__(
        self,
        effects: Mapping[str, Float[np.ndarray, "sample tuple"]],
        units: Integer[np.ndarray, " sample"] | None = None,
    ) -> None:
        """Effects by checkpoint, of the same samples in the same order.

        units: the number of each sample's unit, from 0; every sample by itself unless given.
        Raises: ValueError on NaN, fewer than 2 samples or 3 tuples, or different shapes.
        """
        shapes = {name: np.shape(values) for name, values in effects.items()}
        shape = next(iter(shapes.values()))
        if len(set(shapes.values())) > 1 or shape[0] < 2 or shape[1] < 3:
            raise ValueError(
                f"effects={shapes}, but should be one shape, of at least 2 samples and 3 tuples "
                "[resemblance]: pass the same samples and tuples of every checkpoint"
            )
        self.samples, self.tuples = shape
        unit = np.arange(self.samples) if units is None else units
        sizes = np.bincount(unit).astype(float)
        pairs = _with_left_out(np.outer(sizes, sizes))
        pairs[pairs == 0] = np.nan  # nothing is left to compare
        centred = {name: finite(v, name, "resemblance") for name, v in effects.items()}
        centred = {name: v - v.mean(axis=1, keepdims=True) for name, v in centred.items()}
        totals = {name: np.zeros((len(sizes), self.tuples)) for name in centred}
        for name, values in centred.items():
            np.add.at(totals[name], unit, values)
        names = list(centred)
        self._covariances: dict[tuple[str, str], Float[np.ndarray, " left_out"]] = {}
        for i, first in enumerate(names):
            for second in names[i:]:
                products = totals[first] @ totals[second].T / (self.tuples - 1)
                found = _with_left_out(products) / pairs
                self._covariances[first, second] = self._covariances[second, first] = found

    def correlation(self, first: str, second: str) -> float:
        """Correlation over tuples of the noise-free mean effects of two checkpoints."""
        return float(self._correlations(first, second)[-1])

    def has_pattern(self, name: str) -> bool:
        """Whether a checkpoint's effects on different units agree on a pattern of tuples.

        Its own covariance is above 0, one-sided at 5 %.
        """
        own = self._covariances[name, name]
        return jackknife(float(own[-1]), own[:-1], samples=self.samples).low > 0

    def lead(
        self, pair: tuple[str, str], rival: tuple[str, str], *, alpha_high: float = ALPHA
    ) -> Interval:
        """Correlation of one pair of checkpoints minus that of another, jackknife over units."""
        leads = self._correlations(*pair) - self._correlations(*rival)
        return jackknife(float(leads[-1]), leads[:-1], samples=self.samples, alpha_high=alpha_high)

    def _correlations(self, first: str, second: str) -> Float[np.ndarray, " left_out"]:
        """Without each of the units; the last one is of all."""
        covariance = self._covariances[first, second]
        own = self._covariances[first, first], self._covariances[second, second]
        known = (own[0] > 0) & (own[1] > 0)
        scale = np.sqrt(np.where(known, own[0] * own[1], 1.0))
        return np.where(known, covariance / scale, np.nan)


def _with_left_out(products: Float[np.ndarray, "unit unit"]) -> Float[np.ndarray, " left_out"]:
    """Sums over ordered pairs of different units, without each of the units; the last: of all."""
    own = np.diag(products)
    total = products.sum() - own.sum()
    # A unit's pairs: it comes first, or second.
    return np.append(total - products.sum(axis=0) - products.sum(axis=1) + 2 * own, total)
