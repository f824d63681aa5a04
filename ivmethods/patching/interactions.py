"""Interactions of layers: what a tuple does beyond the parts it consists of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ivmethods.statistics.bootstrap import bootstrap
from ivmethods.statistics.univariate import (
    Interval,
    binomial_p,
    finite,
    holm,
    sign_flip_p,
    wilcoxon_p,
)


@dataclass(frozen=True)
class PairResult:
    """One pair of layers over the samples given; effects in the metric's unit.

    singles: mean of f(i) + f(j). median_interaction, share_positive: of f(ij) - f(i) - f(j).
    The p-values are one-sided; Holm's adjusts the binomial ones over the pairs given.
    """

    layers: tuple[int, ...]
    effect: float
    singles: float
    median_interaction: float
    share_positive: float
    binomial_p: float
    holm_p: float
    wilcoxon_p: float


@dataclass(frozen=True)
class Lead:
    """The best tuple of one kind against the best of another.

    best, rival: their indices, chosen on the picking part. difference: mean effect of best minus
    rival on the samples that decide. p_value: of that difference, one-sided, by sign flips.
    """

    best: int
    rival: int
    difference: Interval
    p_value: float


def interactions(
    singles: Float[np.ndarray, "sample layer"],
    together: Float[np.ndarray, "sample tuple"],
    pairs: Sequence[tuple[int, ...]],
) -> Float[np.ndarray, "sample tuple"]:
    """f(ij) - f(i) - f(j) per sample and pair, 0 where the layers' effects merely add up.

    pairs: the two layers of every column of `together`.
    Raises: ValueError on NaN, or if `pairs` does not name every column.
    Source: section 5.1, Eq. 2.
    """
    if len(pairs) != together.shape[1]:
        raise ValueError(
            f"pairs={len(pairs)}, but should be {together.shape[1]} [interactions]: "
            "name the layers of every column"
        )
    first, second = np.array(pairs).T
    alone = finite(singles, "singles", "interactions")
    return finite(together, "together", "interactions") - alone[:, first] - alone[:, second]


def pair_results(
    singles: Float[np.ndarray, "sample layer"],
    together: Float[np.ndarray, "sample tuple"],
    pairs: Sequence[tuple[int, ...]],
) -> tuple[PairResult, ...]:
    """Each pair by itself, for the evidence: pass the deciding samples of the chosen pairs."""
    interaction = interactions(singles, together, pairs)
    p = np.array([binomial_p(column > 0) for column in interaction.T])
    adjusted = holm(p)
    return tuple(
        PairResult(
            layers=pair,
            effect=float(together[:, k].mean()),
            singles=float((together[:, k] - interaction[:, k]).mean()),
            median_interaction=float(np.median(interaction[:, k])),
            share_positive=float((interaction[:, k] > 0).mean()),
            binomial_p=float(p[k]),
            holm_p=float(adjusted[k]),
            wilcoxon_p=wilcoxon_p(interaction[:, k]),
        )
        for k, pair in enumerate(pairs)
    )


def lead(
    effects: Float[np.ndarray, "sample tuple"],
    rivals: Float[np.ndarray, "sample rival"],
    *,
    is_discovery: Bool[np.ndarray, " sample"],
    resamples: int = 10_000,
    seed: int = 0,
) -> Lead:
    """The best of `effects` against the best of `rivals`: say, pairs and singles.

    Each best has the largest mean on the picking part; effects or specific effects alike.
    """
    best = int(np.argmax(effects[is_discovery].mean(axis=0)))
    rival = int(np.argmax(rivals[is_discovery].mean(axis=0)))
    difference = effects[~is_discovery, best] - rivals[~is_discovery, rival]
    interval = bootstrap(_mean, difference, smooth=True, resamples=resamples, seed=seed)
    return Lead(best, rival, interval, sign_flip_p(difference, seed=seed))


def _mean(values: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return values.mean(axis=1)
