"""Relative lead: how far one quantity is ahead of others in the mean, paired over samples."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ivmethods.bootstrap import bootstrap
from ivmethods.statistics import ALPHA, Interval


def relative_leads(
    own: Float[np.ndarray, " sample"],
    rivals: Float[np.ndarray, "sample rival"],
    *,
    alpha_high: float = ALPHA,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Interval]:
    """(mean own - mean rival) / (mean own + mean rival) for each rival, in [-1, 1].

    0 if both means are 0. Values are not negative, say numbers of paths.
    alpha_high: one-sided error of the upper bounds; that of the lower ones is 0.05.
    resamples: of the bootstrap and of the sign flips.

    Each bound is the wider one of two. Numbers of paths have heavy tails, for which the bootstrap
    is too bold. Sign flips are exact if the two quantities differ in scale alone, however heavy
    their tails, but too bold if one has heavier tails than the other. Together they err least.

    Raises: ValueError on NaN and on no samples.
    """
    leads = _subset_leads(own, rivals, subsets=resamples, seed=seed)
    lows, highs = -_upper_bounds(-leads, ALPHA), _upper_bounds(leads, alpha_high)
    found = []
    for rival, low, high in zip(rivals.T, lows, highs, strict=True):
        interval = bootstrap(
            _relative_lead,
            own,
            rival,
            smooth=True,
            resamples=resamples,
            seed=seed,
            alpha_high=alpha_high,
        )
        low, high = min(interval.low, float(low)), max(interval.high, float(high))
        found.append(replace(interval, low=low, high=high, at=None))
    return found


def _relative_lead(
    own: Float[np.ndarray, "draw sample"], rival: Float[np.ndarray, "draw sample"]
) -> Float[np.ndarray, " draw"]:
    mine, theirs = own.mean(axis=1), rival.mean(axis=1)
    total = mine + theirs
    return np.where(total > 0, (mine - theirs) / np.where(total > 0, total, 1.0), 0.0)


def _subset_leads(
    own: Float[np.ndarray, " sample"],
    rivals: Float[np.ndarray, "sample rival"],
    *,
    subsets: int,
    seed: int,
) -> Float[np.ndarray, "subset rival"]:
    """Relative leads over random subsets of the samples; NaN where a subset has no paths.

    A lead is below a share p of them just where the sign-flip test of own * (1 - lead) - rival *
    (1 + lead) has the p-value p: flipping the signs outside a subset doubles the sum inside it.

    Source: Hartigan 1969, JASA 64:1303 (typical values).
    """
    inside = np.random.default_rng(seed).integers(0, 2, size=(subsets, len(own)))
    above, total = inside @ (own[:, None] - rivals), inside @ (own[:, None] + rivals)
    return np.where(total > 0, above / np.where(total > 0, total, 1.0), np.nan)


def _upper_bounds(
    leads: Float[np.ndarray, "subset rival"], alpha: float
) -> Float[np.ndarray, " rival"]:
    rank = math.floor(alpha * (len(leads) + 1))
    if rank == 0:
        return np.full(leads.shape[1], np.inf)
    bounds = np.sort(leads, axis=0)[-rank]  # NaN is sorted to the end
    return np.where(np.isnan(bounds), np.inf, bounds)
