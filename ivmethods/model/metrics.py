"""Metrics of an answer in the logits at T_last."""

# The text of annotations: functions that a trace's body calls travel without our libraries.
from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

METRICS = ("rr", "logit", "logprob", "logit_diff", "rr_released")
RELEASED_CUTOFF = 1000


class NotFiniteError(ArithmeticError):
    """NaN or infinity where a number is due: of which quantity, and in how many of its parts."""

    def __init__(self, quantity: str, got: str) -> None:
        super().__init__(f"{quantity}={got}, but should be finite")
        self.quantity, self.got = quantity, got


def require_finite(values: Float[Tensor, "*parts"], quantity: str, parts: str) -> None:
    """See that every value is a finite number.

    parts: what the first axis counts, in the plural.

    Raises: NotFiniteError.
    """
    _refuse(~values.isfinite(), quantity, parts)


def require_scores(
    scores: Float[Tensor, "metric sample *runs"], contrast: Int[Tensor, " sample"], quantity: str
) -> None:
    """See that metrics, or their effects, are finite; `logit_diff` only where there is a contrast.

    Raises: NotFiniteError.
    """
    broken = ~scores.isfinite()
    broken[METRICS.index("logit_diff"), contrast < 0] = False
    _refuse(broken.any(dim=0), quantity, "samples")


def score(
    logits: Float[Tensor, "row vocab"],
    answer: Int[Tensor, " row"],
    contrast: Int[Tensor, " row"],
) -> Float[Tensor, "metric row"]:
    """Measure the answer token in each row's logits, in the order of `METRICS`.

    rr: reciprocal of the answer's rank in the whole vocabulary, in (0, 1]; rank = 1 + number of
    strictly larger logits. logit: in the model's own unit. logprob: natural logarithm, <= 0.
    logit_diff: answer minus contrast answer; NaN where `contrast` is negative (there is none).
    rr_released: the released scripts' rr, which is -1 for ranks above 1000. All are NaN in a row
    without a ranking: with a logit of NaN or +inf, or whose answer can never be given (-inf). Other
    tokens may be masked with -inf.

    Source: section 5.1; docs/design.md, "Activation patching".
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
    metrics = torch.stack([rr, own, own - logits.logsumexp(dim=1), difference, released])
    # The maximum is NaN where any logit is.
    is_ranked = logits.amax(dim=1).isfinite() & own.isfinite()
    return torch.where(is_ranked, metrics, torch.nan)


def _refuse(broken: Bool[Tensor, "*parts"], quantity: str, parts: str) -> None:
    if broken.any():
        count = int(broken.flatten(1).any(dim=1).sum()) if broken.ndim > 1 else int(broken.sum())
        raise NotFiniteError(quantity, f"NaN or infinite in {count} of {len(broken)} {parts}")
