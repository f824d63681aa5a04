"""Checks of a new checkpoint: whether it can be patched, and how its sweeps are run."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from ivmethods.fan_out import fan_out, fan_out_each
from ivmethods.metrics import METRICS
from ivmethods.model import as_ids, inputs, layer_count, network
from ivmethods.prompts import Sample
from ivmethods.recording import record_sites
from ivmethods.reference import batched, by_hooks
from ivmethods.sweep import Runner, sweep

RunnerName = Literal["fan_out", "fan_out_each", "batched"]
RUNNERS: dict[RunnerName, Runner] = {
    "fan_out": fan_out,
    "fan_out_each": fan_out_each,
    "batched": batched,
}
# Largest difference of logits in float32; the rounding of a 16-bit dtype is that much coarser.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.5}


@dataclass(frozen=True)
class Checks:
    """Largest absolute differences of logits, and the fastest runner that agrees with plain hooks.

    no_op: a run patched with its own activations against the unpatched run.
    hook_parity: the runner's sweep against plain PyTorch hooks.
    padding: a left-padded batch against each prompt alone.
    """

    no_op: float
    hook_parity: float
    padding: float
    tolerance: float
    runner: RunnerName

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance (NaN is not)."""
        return all(x <= self.tolerance for x in (self.no_op, self.hook_parity, self.padding))


def check(model: TransformersModel, samples: list[Sample], *, memory_budget: int) -> Checks:
    """Check a checkpoint on a few samples of different lengths.

    The first runner of `RUNNERS` that agrees with plain hooks on pairs is chosen.

    Source: DESIGN 3.3, 3.4.
    """
    tolerance = TOLERANCE[network(model).dtype]
    own = record_sites(model, samples)
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    other = noise / noise.norm(dim=-1, keepdim=True) * own.float().norm(dim=-1, keepdim=True)
    slow = _logits(model, samples, other, by_hooks, memory_budget)
    parity = torch.inf
    chosen: RunnerName = "batched"
    for name, runner in RUNNERS.items():
        try:
            fast = _logits(model, samples, other, runner, memory_budget)
        except RuntimeError:  # the architecture's masks do not broadcast over a grown batch
            continue
        parity, chosen = _largest(fast - slow), name
        if parity <= tolerance:
            break
    no_op = _largest(_logits(model, samples, own, RUNNERS[chosen], memory_budget))
    return Checks(no_op, parity, _padding_difference(model, samples), tolerance, chosen)


def _logits(
    model: TransformersModel,
    samples: list[Sample],
    vectors: Float[Tensor, "sample layer d_model"],
    runner: Runner,
    memory_budget: int,
) -> Float[Tensor, "sample tuple"]:
    order = min(2, layer_count(model))
    result = sweep(model, samples, vectors, order=order, memory_budget=memory_budget, runner=runner)
    return result.effects[METRICS.index("logit")]


def _padding_difference(model: TransformersModel, samples: list[Sample]) -> float:
    """Largest difference of T_last logits between a left-padded batch and each prompt alone."""
    length = max(len(sample.instructed) for sample in samples)
    pad = model.tokenizer.pad_token_id or 0
    rows = [(pad,) * (length - len(s.instructed)) + s.instructed for s in samples]
    mask = torch.tensor(
        [[0] * (length - len(s.instructed)) + [1] * len(s.instructed) for s in samples]
    )
    ids = inputs(model, as_ids(rows))["input_ids"]
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    largest = 0.0
    with torch.no_grad():
        padded = network(model)(
            ids, attention_mask=mask.to(ids.device), position_ids=positions.to(ids.device)
        ).logits[:, -1]
        for sample, row in zip(samples, padded, strict=True):
            alone = network(model)(**inputs(model, as_ids([sample.instructed]))).logits[0, -1]
            largest = max(largest, _largest(alone - row))
    return largest


def _largest(difference: Tensor) -> float:
    return float(difference.float().abs().max())
