"""Which samples pick, and which tuples they pick."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from ivmethods.statistics.univariate import finite

SMALLEST_CLOSED_SHARE = 0.10
ONE_IN = 4  # samples, one picks


def picking_part(answers: Sequence[str]) -> Bool[np.ndarray, " sample"]:
    """The samples that pick: a quarter, of every answer's samples about as many.

    answers: the label of each sample, in seeded order. Samples are lined up answer by answer, in
    the order in which answers first come, and every fourth one picks: where few answers exist,
    effects differ between them, and parts that hold unlike answers would differ, too.
    """
    first = {answer: k for k, answer in reversed(list(enumerate(answers)))}
    lined_up = np.argsort([first[answer] for answer in answers], kind="stable")
    picks = np.zeros(len(answers), dtype=bool)
    picks[lined_up[::ONE_IN]] = True
    return picks


def largest_specific(
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    gap: Float[np.ndarray, " sample"],
    *,
    among: Bool[np.ndarray, " tuple"],
    most: int,
) -> tuple[int, ...]:
    """Indices of the at most `most` tuples with the largest mean effect, largest first; maybe none.

    Only those of `among` whose mean effect and mean specific effect both close at least a tenth of
    the mean gap: what is specific but harms (its own effect below 0) shows nothing of a mechanism.
    gap: metric(instructed) - metric(target) of the same samples.

    Raises: ValueError on NaN.
    """
    own = finite(effects, "effects", "picking").mean(axis=0)
    contrasted = finite(specific, "specific effects", "picking").mean(axis=0)
    smallest = SMALLEST_CLOSED_SHARE * float(finite(gap, "gap", "picking").mean())
    candidate = (np.minimum(own, contrasted) >= smallest) & among if smallest > 0 else among & False
    largest_first = np.argsort(-own, kind="stable")
    return tuple(int(index) for index in largest_first if candidate[index])[:most]
