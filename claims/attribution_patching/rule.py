"""The rule of `agreement`: attribution patching gives what activation patching gives, over heads.

What is compared is compared within a pair of prompts, as errors of opposite sign on two pairs would
cancel in a mean effect. One head often carries nearly everything, so that Pearson's r is near 1
whatever the estimates of all others are, and however much too small that head's own is: hence
ranks, a criterion of size, and both without the largest head.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Integer

from ivevidence.records.cells import Decision
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.rules import about, judge
from ivmethods.paths.heads import spearman
from ivmethods.statistics.bounded import bounded_ratio
from ivmethods.statistics.clusters import FEWEST_ANSWERS, clusters
from ivmethods.statistics.univariate import Interval, finite

# About four of five pairs of heads stand in the right order: 1/2 + asin(r) / pi, were both normal.
SMALLEST_CORRELATION = 0.80
# More of the effects is explained than is left.
SMALLEST_PART = 0.50
# The answer's odds against the wrong one change by a factor of e.
SMALLEST_GAP = 1.0
# With fewer, not even full agreement is shown to be above the smallest correlation.
LEAST_UNITS = 29
# Without the largest, an order by chance reaches the smallest correlation in less than 5 %.
LEAST_NODES = 7
# Logits: what passes of other shapes differ by.
NOISE = 1e-4
ASKED = all_of(
    *(
        Asked(f"{name}, {which}", threshold)
        for name, threshold in (
            ("rank correlation", SMALLEST_CORRELATION),
            ("part explained", SMALLEST_PART),
        )
        for which in ("all heads", "without the largest")
    )
)

THRESHOLDS = {
    "smallest rank correlation": SMALLEST_CORRELATION,
    "smallest part explained": SMALLEST_PART,
    "smallest gap": SMALLEST_GAP,
    "least units": LEAST_UNITS,
    "least heads": LEAST_NODES,
    "noise": NOISE,
}
ESTIMAND = (
    "Of the effects of all heads on the logit difference in a pair of prompts, by activation "
    "patching (exact) and by attribution patching (estimates): Spearman's correlation over heads; "
    "and the part explained, 1 - sum of (estimate - exact)^2 / sum of exact^2 over heads, at least "
    "-1. Both with all heads and without the pair's largest exact effect, in the mean over pairs."
)
RULE = (
    f"{supported_if(*ASKED).capitalize()}; {refuted_if(*ASKED)}; inconclusive "
    "otherwise. Units are pairs; the means of answers where pairs share them and there are at "
    f"least {FEWEST_ANSWERS}. Bounds are those of a mean of bounded values of any distribution. "
    f"Effects up to {NOISE} logits are rounding and count as 0; estimates that are all alike have "
    "a correlation of 0. Pairs without effects that differ beside the largest are not compared. "
    f"Inconclusive where the clean run's mean logit difference is not {SMALLEST_GAP} above the "
    f"corrupt run's (there is no effect to compare), and with fewer than {LEAST_UNITS} units to "
    f"compare; not applicable with fewer than {LEAST_NODES} heads."
)


def decide(
    *,
    exact: Float[np.ndarray, "sample layer head"],
    quick: Float[np.ndarray, "sample layer head"],
    gap: Float[np.ndarray, " sample"],
    answers: Sequence[str],
    seed: int,
) -> Decision:
    """The verdict on both methods' effects on the same pairs, as RULE says.

    gap: logit difference of the clean run minus that of the corrupt run. answers: right ones of the
    clean prompts.

    Raises: ValueError on NaN and on no samples.
    """
    effects, estimates = (
        _flat(values, name) for values, name in ((exact, "exact"), (quick, "quick"))
    )
    pairs, nodes = effects.shape
    if nodes < LEAST_NODES:
        reason = f"{nodes} heads, but should be at least {LEAST_NODES}: chance would order fewer"
        return Decision("not_applicable", reason, (), None)
    if (mean := float(finite(gap, "gap", "agreement").mean())) < SMALLEST_GAP:
        reason = (
            f"no effect to compare: mean logit difference {mean:.3g} higher in the clean run than "
            f"in the corrupt one, but should be at least {SMALLEST_GAP:.3g}"
        )
        return Decision("inconclusive", reason, (), None)
    rest = [without_largest(values, effects) for values in (effects, estimates)]
    kept = np.ptp(rest[0], axis=1) > 0
    labels = [answer for answer, is_kept in zip(answers, kept, strict=True) if is_kept]
    numbers = clusters(labels)
    units = np.arange(len(labels)) if numbers is None else numbers
    if (n := len({*units})) < LEAST_UNITS:
        reason = (
            f"{n} units of {pairs} pairs have effects to compare beside the largest, but should be "
            f"at least {LEAST_UNITS}"
        )
        needed = math.ceil(LEAST_UNITS * pairs / n) if n else None
        return Decision("inconclusive", reason, (), needed)
    described = (
        (correlations, "Spearman's r over heads"),
        (parts, "1 - squared error / squared effects"),
    )
    values = [
        (measure(*(arrays[kept] for arrays in compared)), description)
        for measure, description in described
        for compared in ((effects, estimates), rest)
    ]
    criteria = [
        asked.criterion(description, _mean(each, units, seed, asked))
        for asked, (each, description) in zip(ASKED, values, strict=True)
    ]
    return about(judge(criteria, samples=pairs), labels)


def correlations(
    exact: Float[np.ndarray, "sample node"], quick: Float[np.ndarray, "sample node"]
) -> Float[np.ndarray, " sample"]:
    """Spearman's r over the nodes of each sample; 0 where either's are all equal."""
    return np.nan_to_num(spearman(exact, quick))


def parts(
    exact: Float[np.ndarray, "sample node"], quick: Float[np.ndarray, "sample node"]
) -> Float[np.ndarray, " sample"]:
    """1 - sum of (quick - exact)^2 / sum of exact^2 over the nodes of each sample, at least -1.

    The floor is that of a correlation, and what lets its mean have
    bounds: else one pair of many that overshoots by far would decide it, or be missed.
    """
    error = ((quick - exact) ** 2).sum(axis=1)
    return np.maximum(1 - error / (exact**2).sum(axis=1), -1.0)


def without_largest(
    values: Float[np.ndarray, "sample node"], exact: Float[np.ndarray, "sample node"]
) -> Float[np.ndarray, "sample rest"]:
    """The values of each sample but that of its largest exact effect, whatever its sign."""
    is_kept = np.arange(exact.shape[1]) != np.abs(exact).argmax(axis=1)[:, None]
    return values[is_kept].reshape(len(exact), -1)


def _flat(
    values: Float[np.ndarray, "sample layer head"], name: str
) -> Float[np.ndarray, "sample node"]:
    flat = finite(values, name, "agreement").reshape(len(values), -1)
    return np.where(np.abs(flat) > NOISE, flat, 0.0)


def _mean(
    values: Float[np.ndarray, " sample"],
    units: Integer[np.ndarray, " sample"],
    seed: int,
    asked: Asked,
) -> Interval:
    """Mean over units of values in [-1, 1]."""
    means = np.bincount(units, values) / np.bincount(units)
    alpha, alpha_high = asked.alphas["alpha"], asked.alphas["alpha_high"]
    interval = bounded_ratio(means, seed=seed, alpha=alpha, alpha_high=alpha_high)
    return replace(interval, n=len(values))
