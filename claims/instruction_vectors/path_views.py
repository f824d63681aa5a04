"""What was traced, token by token: numbers of paths and activity of heads as claims use them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from claims.instruction_vectors.columns import Columns, columns
from claims.instruction_vectors.needs import sub_position
from ivfixtures.data.instructed import InstructedData
from ivmethods.paths.results import Tracing
from ivmethods.paths.tracing import high_ranking_paths
from ivmethods.prompts.protocols import token_texts


@dataclass(frozen=True)
class PathCounts:
    """Numbers of paths by sample and column; of a query of several tokens the largest.

    `high`: paths that rank the answer high, between `low` and `most`: exact 95 % bounds where paths
    were drawn, and else the number itself. `drawn`: columns some of whose paths were drawn.
    """

    tracing: Tracing
    columns: Columns
    high: Float[np.ndarray, "sample column"]
    low: Float[np.ndarray, "sample column"]
    most: Float[np.ndarray, "sample column"]
    totals: Float[np.ndarray, "sample column"]
    drawn: Bool[np.ndarray, " column"]

    def shares(self, answer: int = 0) -> Float[np.ndarray, "sample column"]:
        """Share of high-ranking paths among those of each column's tokens, for one of ANSWERS."""
        high, totals = self._sums(answer)
        return _ratio(high, totals)

    def later_share(self, column: int) -> Float[np.ndarray, " sample"]:
        """The same share for the answer, of all tokens after a column together."""
        high, totals = (sums[:, column + 1 :].sum(axis=1) for sums in self._sums(0))
        return _ratio(high, totals)

    def name(self, column: int) -> str:
        """A column as people name it: by its distance from T_inst, and its token."""
        distance = column - self.columns.t_inst
        if column == self.columns.sub:
            return "the end of the sub-instruction"
        sign = f" {'-' if distance < 0 else '+'} {abs(distance)}" if distance else ""
        return f"T_inst{sign} ({self.columns.labels[column].strip()!r})"

    def _sums(self, answer: int) -> tuple[np.ndarray, np.ndarray]:
        high = self.columns.gather(self.tracing.high[:, :, answer], np.add)
        return high, self.columns.gather(self.tracing.totals, np.add)


def prompt_columns(data: InstructedData, first: int) -> Columns:
    """The task's prompts from a position on, side by side."""
    samples = data.samples()
    return columns(
        [sample.instructed for sample in samples],
        token_texts(data.tokenizer, samples[0].instructed),
        first=first,
        t_inst=samples[0].t_inst,
        sub=sub_position(data),
    )


def path_counts(data: InstructedData, tracing: Tracing) -> PathCounts:
    """The paths of a checkpoint and task, counted by column."""
    found = prompt_columns(data, tracing.first)
    drawn = (tracing.examined < tracing.totals).astype(float)
    low, most = _bounds(tracing)
    return PathCounts(
        tracing,
        found,
        found.gather(tracing.high[:, :, 0], np.maximum),
        found.gather(low, np.maximum),
        found.gather(most, np.maximum),
        found.gather(tracing.totals, np.maximum),
        np.asarray(found.gather(drawn, np.maximum).any(axis=0)),
    )


def activity(tracing: Tracing, position: int) -> Float[np.ndarray, "sample layer head"]:
    """Share of a token's high-ranking paths that use each head; NaN on a sample without any."""
    return tracing.uses[:, position - tracing.first].astype(np.float64)


def _bounds(tracing: Tracing) -> tuple[np.ndarray, np.ndarray]:
    """95 % bounds of the number of high-ranking paths by sample and start."""
    low, most = tracing.high[:, :, 0].copy(), tracing.high[:, :, 0].copy()
    for at in np.argwhere(tracing.examined < tracing.totals):
        numbers = (a[tuple(at)] for a in (tracing.totals, tracing.examined, tracing.hits[..., 0]))
        found = high_ranking_paths(*map(int, numbers))
        low[tuple(at)], most[tuple(at)] = found.low, found.high
    return low, most


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where a token has no path of any kind."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
