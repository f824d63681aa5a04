"""Relative lead: how far one quantity is ahead of others on a sample, in the mean over samples."""

import math

import numpy as np
from jaxtyping import Float

from ivmethods.statistics.bounded import bounded_ratio, wider
from ivmethods.statistics.univariate import ALPHA, Interval, finite


def relative_lead(
    own: Float[np.ndarray, " sample"],
    rivals: Float[np.ndarray, "sample rival"],
    *,
    alpha_high: float = ALPHA,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Mean of (own - rival) / (own + rival) over the rivals, then over samples, in [-1, 1].

    A sample's lead is 0 over a rival where both are 0; samples where all are 0 do not count, and
    without any other the estimate is NaN. Values are not negative, say numbers of paths.
    alpha_high: one-sided error of the upper bound; that of the lower one is 0.05. draws: of the
    bounds.

    However heavy the tails of the values, a lead is bounded, so that its bounds need no shape. They
    are widened to the lead in mean values, (mean own - mean rival) / (mean own + mean rival): this
    weighs the samples by their values, so that few of them may decide it, and no bounds hold for
    it. Where the two disagree, the interval holds both.

    Raises: ValueError on NaN and on no samples.
    """
    own, rivals = finite(own, "own", "relative_lead"), finite(rivals, "rivals", "relative_lead")
    counted = (own > 0) | (rivals > 0).any(axis=1)
    if not counted.any():
        return Interval(math.nan, -math.inf, math.inf, 0)
    leads = _leads(own[counted][:, None], rivals[counted]).mean(axis=1)
    interval = bounded_ratio(leads, draws=draws, seed=seed, alpha_high=alpha_high)
    in_means = float(_leads(own.mean(keepdims=True), rivals.mean(axis=0)).mean())
    in_both = in_means, in_means
    return wider(interval, Interval(in_means, *in_both, interval.n, lambda _: in_both))


def _leads(own: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    total = own + rivals
    return np.where(total > 0, (own - rivals) / np.where(total > 0, total, 1.0), 0.0)
