"""Which vectors rank an answer high, without computing all of their logits."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ivmethods.model.metrics import require_finite

HIGH_RANK = 100  # high-ranking: the answer's rank is below this (section 6.1)
_SLICES = 96
_SLICE_LOGITS = 2**23  # at once; 32 MiB


def high_ranking(
    vectors: Float[Tensor, "path d_model"],
    unembed: Float[Tensor, "vocab d_model"],
    answers: Int[Tensor, " answer"],
    *,
    below: int = HIGH_RANK,
) -> Bool[Tensor, "path answer"]:
    """Whether each answer's rank is below `below`; rank = 1 + number of strictly larger logits.

    vectors: after the final norm. The vocabulary is gone through in interleaved slices, and a
    vector is let go once every answer has too many larger logits: the decisions are those of the
    whole vocabulary.

    Raises: NotFiniteError, an answer's logit is NaN or infinite: no logit is larger than NaN.
    Source: section 6.1, "paths that result in answer token rank < 100".
    """
    slices = min(_SLICES, max(1, len(unembed) // (4 * below)))
    at_once = max(1, _SLICE_LOGITS * slices // len(unembed))
    found = torch.zeros(len(vectors), len(answers), dtype=torch.bool, device=vectors.device)
    for rows in torch.arange(len(vectors), device=vectors.device).split(at_once):
        alive, own = vectors[rows], vectors[rows] @ unembed[answers].T
        require_finite(own, "logits of single paths", "paths")
        larger = torch.zeros_like(own)
        for start in range(slices):
            logits = alive @ unembed[start::slices].T
            is_larger = torch.empty_like(logits)  # as numbers: torch sums booleans ten times slower
            for column, answer in enumerate(answers.tolist()):
                torch.gt(logits, own[:, column, None], out=is_larger)
                if answer % slices == start:  # no logit is larger than itself, but for rounding
                    is_larger[:, answer // slices] = 0
                larger[:, column] += is_larger.sum(dim=1)
            kept = (larger < below - 1).any(dim=1)
            rows, alive, own, larger = rows[kept], alive[kept], own[kept], larger[kept]
        found[rows] = larger < below - 1
    return found
