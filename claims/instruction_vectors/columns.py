"""Tokens of prompts of different lengths side by side: one column a token, one for the query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

QUERY = "{query}"


@dataclass(frozen=True)
class Columns:
    """Positions of every sample, column by column; labels are token texts, or `{query}`.

    `positions[s][c]`: positions of sample s in column c; several only where its query has several
    tokens. `t_inst`, `sub`: columns of T_inst and of the sub-instruction's last token.
    """

    labels: tuple[str, ...]
    positions: tuple[tuple[tuple[int, ...], ...], ...]
    t_inst: int
    sub: int | None

    def gather(
        self, values: Float[np.ndarray, "sample start"], combine: np.ufunc
    ) -> Float[np.ndarray, "sample column"]:
        """Values, the first column's first, by column; those of a query's tokens are combined."""
        first = self.positions[0][0][0]
        # Columns stand side by side, each from its first position to the next one's.
        return np.array(
            [
                combine.reduceat(
                    row[: columns[-1][-1] + 1 - first], [c[0] - first for c in columns]
                )
                for row, columns in zip(values, self.positions, strict=True)
            ]
        )


def columns(
    sequences: Sequence[Sequence[int]],
    texts: Sequence[str],
    *,
    first: int,
    t_inst: int,
    sub: int | None,
) -> Columns:
    """Align prompts from position `first` on: by their common beginnings and ends.

    sequences: token ids of every prompt, the same up to t_inst. texts: token texts of the first
    one. Whatever lies between the common tokens is the query's.
    """
    rest = [list(ids[first:]) for ids in sequences]
    before = max(_common(rest), t_inst - first + 1)
    after = _common([row[before:][::-1] for row in rest])
    shortest = min(len(row) for row in rest)
    before -= before + after >= shortest  # the query has a token in every prompt
    cuts = [[*range(before), *range(len(row) - after, len(row))] for row in rest]
    positions = tuple(
        (
            *((first + p,) for p in cut[:before]),
            tuple(range(first + before, first + len(row) - after)),
            *((first + p,) for p in cut[before:]),
        )
        for row, cut in zip(rest, cuts, strict=True)
    )
    labels = tuple(QUERY if i == before else texts[p[0]] for i, p in enumerate(positions[0]))
    return Columns(labels, positions, t_inst - first, None if sub is None else sub - first)


def _common(rows: Sequence[Sequence[int]]) -> int:
    """Length of the longest common beginning."""
    length = 0
    for tokens in zip(*rows, strict=False):
        if len({*tokens}) > 1:
            break
        length += 1
    return length
