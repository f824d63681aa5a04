"""Resemblance of sweeps: whether two checkpoints have their effects at the same tuples."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ivmethods.bootstrap import bootstrap
from ivmethods.statistics import ALPHA, Interval, finite

Kernel = Float[np.ndarray, "sample sample"]


class Sweeps:
    """Sweeps of several checkpoints over the same samples and tuples, made comparable.

    The correlation of two checkpoints' mean effects over tuples mixes three things: whether the
    effects are at the same tuples, how noisy the means are (noise pulls it to 0, most of all for a
    checkpoint with small effects), and what the two make of the same queries (shared noise pushes
    it up). Only the first is resemblance. So each covariance over tuples is taken between effects
    on *different* samples, and averaged over all ordered pairs of them: its expectation is that of
    the noise-free means, whatever the sample size.

    Correlations may exceed 1 a little, and say nothing where a checkpoint's effects on different
    samples do not agree on a pattern; they are NaN where its own covariance is not above 0.

    Deviation: section 5.1 compares heat maps by eye; there is no statistic.
    """

    def __init__(self, effects: Mapping[str, Float[np.ndarray, "sample tuple"]]) -> None:
        """Effects by checkpoint, of the same samples in the same order.

        Raises: ValueError on NaN, fewer than 2 samples or 3 tuples, or different shapes.
        """
        shapes = {name: np.shape(values) for name, values in effects.items()}
        shape = next(iter(shapes.values()))
        if len(set(shapes.values())) > 1 or shape[0] < 2 or shape[1] < 3:
            raise ValueError(
                f"effects={shapes}, but should be one shape, of at least 2 samples and 3 tuples "
                "[resemblance]: pass the same samples and tuples of every checkpoint"
            )
        self.samples, tuples = shape
        centred = {name: finite(v, name, "resemblance") for name, v in effects.items()}
        centred = {name: v - v.mean(axis=1, keepdims=True) for name, v in centred.items()}
        names = list(centred)
        self._kernels: dict[tuple[str, str], Kernel] = {}
        for i, first in enumerate(names):
            for second in names[i:]:
                kernel = centred[first] @ centred[second].T / (tuples - 1)
                self._kernels[first, second] = self._kernels[second, first] = kernel

    def correlation(self, first: str, second: str) -> float:
        """Correlation over tuples of the noise-free mean effects of two checkpoints."""
        return float(self._correlations(np.ones((1, self.samples)), first, second)[0])

    def has_pattern(self, name: str, *, resamples: int = 10_000, seed: int = 0) -> bool:
        """Whether a checkpoint's effects on different samples agree on a pattern of tuples.

        Its own covariance is above 0, one-sided at 5 %.
        """

        def statistic(drawn: Float[np.ndarray, "draw index"]) -> Float[np.ndarray, " draw"]:
            return self._covariances(self._weights(drawn), name, name)

        indices = np.arange(self.samples)
        own = bootstrap(statistic, indices, smooth=True, resamples=resamples, seed=seed)
        return own.low > 0

    def lead(
        self,
        pair: tuple[str, str],
        rival: tuple[str, str],
        *,
        resamples: int = 10_000,
        seed: int = 0,
        alpha_high: float = ALPHA,
    ) -> Interval:
        """Correlation of one pair of checkpoints minus that of another, bootstrap over samples.

        All checkpoints keep the same resampled samples. Copies of one sample count as one sample
        does: they are never paired with each other.
        """

        def statistic(drawn: Float[np.ndarray, "draw index"]) -> Float[np.ndarray, " draw"]:
            weights = self._weights(drawn)
            return self._correlations(weights, *pair) - self._correlations(weights, *rival)

        indices = np.arange(self.samples)
        return bootstrap(
            statistic, indices, smooth=True, resamples=resamples, seed=seed, alpha_high=alpha_high
        )

    def _weights(self, drawn: Float[np.ndarray, "draw index"]) -> Float[np.ndarray, "draw sample"]:
        """How often each sample was drawn."""
        flat = drawn.astype(int) + np.arange(len(drawn))[:, None] * self.samples
        counts = np.bincount(flat.ravel(), minlength=len(drawn) * self.samples)
        return counts.reshape(len(drawn), self.samples).astype(float)

    def _correlations(
        self, weights: Float[np.ndarray, "draw sample"], first: str, second: str
    ) -> Float[np.ndarray, " draw"]:
        covariance = self._covariances(weights, first, second)
        own = self._covariances(weights, first, first), self._covariances(weights, second, second)
        known = (own[0] > 0) & (own[1] > 0)
        scale = np.sqrt(np.where(known, own[0] * own[1], 1.0))
        return np.where(known, covariance / scale, np.nan)

    def _covariances(
        self, weights: Float[np.ndarray, "draw sample"], first: str, second: str
    ) -> Float[np.ndarray, " draw"]:
        """Mean over pairs of different samples; a sample weighs as often as it was drawn."""
        kernel = self._kernels[first, second]
        all_pairs = ((weights @ kernel) * weights).sum(axis=1)
        same = weights**2
        pairs = weights.sum(axis=1) ** 2 - same.sum(axis=1)
        return (all_pairs - same @ np.diag(kernel)) / np.where(pairs > 0, pairs, np.nan)
