"""Which tuples a discovery half picks."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from ivmethods.statistics import ALPHA, finite


def largest_specific(
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    *,
    among: Bool[np.ndarray, " tuple"],
    most: int,
) -> tuple[int, ...]:
    """Indices of the at most `most` tuples with the largest mean effect, largest first; maybe none.

    Only those of `among` whose mean specific effect is above 0 (lower bound, Student's t,
    one-sided 5 %); none with fewer than two samples.

    Raises: ValueError on NaN.
    """
    own = finite(effects, "effects", "discovery half")
    contrasted = finite(specific, "specific effects", "discovery half")
    n = len(own)
    if n < 2:
        return ()
    margin = stats.t.isf(ALPHA, n - 1) * contrasted.std(axis=0, ddof=1) / np.sqrt(n)
    candidate = (contrasted.mean(axis=0) - margin > 0) & among
    largest_first = np.argsort(-own.mean(axis=0), kind="stable")
    return tuple(int(index) for index in largest_first if candidate[index])[:most]
