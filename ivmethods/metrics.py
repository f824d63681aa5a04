"""Metrics of an answer in the logits at T_last."""

# The text of annotations: functions that a trace's body calls travel without our libraries.
from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

METRICS = ("rr", "logit", "logprob", "logit_diff", "rr_released")
RELEASED_CUTOFF = 1000


def score(
    logits: Float[Tensor, "row vocab"],
    answer: Int[Tensor, " row"],
    contrast: Int[Tensor, " row"],
) -> Float[Tensor, "metric row"]:
    """Measure the answer token in each row's logits, in the order of `METRICS`.

    rr: reciprocal of the answer's rank in the whole vocabulary, in (0, 1]; rank = 1 + number of
    strictly larger logits. logit: in the model's own unit. logprob: natural logarithm, <= 0.
    logit_diff: answer minus contrast answer; NaN where `contrast` is negative (there is none).
    rr_released: the released scripts' rr, which is -1 for ranks above 1000.

    Source: section 5.1; RELEASED_CODE, "reciprocal rank".
    Deviation: the paper does not define the rank of tied logits; here ties do not lower it.
    """
    logits = logits.float()
    answer, contrast = answer.to(logits.device), contrast.to(logits.device)
    own = logits.gather(1, answer[:, None])
    rank = 1 + (logits > own).sum(dim=1)
    other = logits.gather(1, contrast.clamp(min=0)[:, None])
    difference = torch.where(contrast[:, None] >= 0, own - other, torch.nan)
    rr = 1 / rank.float()
    released = torch.where(rank <= RELEASED_CUTOFF, rr, -1.0)
    own, difference = own[:, 0], difference[:, 0]
    return torch.stack([rr, own, own - logits.logsumexp(dim=1), difference, released])
