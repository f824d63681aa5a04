"""Which tuples the picking part of the samples picks."""

import numpy as np
from jaxtyping import Bool, Float

from ivmethods.statistics import finite

SMALLEST_CLOSED_SHARE = 0.10


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
