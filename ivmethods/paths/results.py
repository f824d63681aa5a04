"""Path measurements as claims read them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Tracing:
    """Paths of one k, by sample and start; NaN where a prompt has ended.

    `first`: position of the first start, the others follow it. `totals`: number of paths (the exact
    integer rounded to a float). `examined`: how many were followed; fewer where they were drawn.
    `hits`: how many of those rank each of ANSWERS high; NaN where there is no such answer. `uses`,
    `expected`: shares of the high-ranking paths and of all paths that use each head. `strongest`:
    positions and logit of the first sample's strongest paths. `single_heads`: number of that
    sample's paths from T_inst if every edge is one head, exact.
    """

    k: int
    first: int
    totals: Float[np.ndarray, "sample start"]
    examined: Float[np.ndarray, "sample start"]
    hits: Float[np.ndarray, "sample start answer"]
    uses: Float[np.ndarray, "sample start layer head"]
    expected: Float[np.ndarray, "sample start layer head"]
    strongest: tuple[tuple[tuple[int, ...], float], ...]
    single_heads: int

    @property
    def high(self) -> Float[np.ndarray, "sample start answer"]:
        """Number of high-ranking paths; an estimate where paths were drawn."""
        return self.hits * (self.totals / np.maximum(self.examined, 1))[:, :, None]


@dataclass(frozen=True)
class Attributed:
    """The answer's logit as a sum over input tokens (NaN beyond a prompt's end) and biases."""

    tokens: Float[np.ndarray, "sample pos"]
    biases: Float[np.ndarray, " sample"]
    completeness: float
