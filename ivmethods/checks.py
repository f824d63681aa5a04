"""Checks of a new checkpoint: whether it can be patched, and how its sweeps are run."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from ivmethods.fan_out import fan_out, fan_out_each
from ivmethods.model import as_ids, inputs, layer_count, network
from ivmethods.prompts import Sample
from ivmethods.recording import record_sites
from ivmethods.reference import batched, patched
from ivmethods.sweep import Runner, Sweep, sweep

RunnerName = Literal["fan_out", "fan_out_each", "batched"]
RUNNERS: dict[RunnerName, Runner] = {
    "fan_out": fan_out,
    "fan_out_each": fan_out_each,
    "batched": batched,
}
# Largest difference of logits in float32; the rounding of a 16-bit dtype is that much coarser.
HOOKED_TUPLES = 8
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

    The first runner of `RUNNERS` whose sweep of pairs agrees with plain hooks, on tuples spread
    over it, is chosen.

    Source: DESIGN 3.3, 3.4.
    """
    tolerance, order = TOLERANCE[network(model).dtype], min(2, layer_count(model))
    own = record_sites(model, samples)
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    other = noise / noise.norm(dim=-1, keepdim=True) * own.float().norm(dim=-1, keepdim=True)
    parity = torch.inf
    chosen: RunnerName = "batched"
    for name, runner in RUNNERS.items():
        try:
            fast = sweep(
                model, samples, other, order=order, memory_budget=memory_budget, runner=runner
            )
        except (RuntimeError, ValueError):  # its masks do not broadcast over a grown batch
            continue
        parity, chosen = _difference_to_hooks(model, samples, other, fast), name
        if parity <= tolerance:
            break
    still = sweep(
        model, samples, own, order=order, memory_budget=memory_budget, runner=RUNNERS[chosen]
    )
    no_op = _largest(still.of("logit"))
    return Checks(no_op, parity, _padding_difference(model, samples), tolerance, chosen)


def _difference_to_hooks(
    model: TransformersModel,
    samples: list[Sample],
    vectors: Float[Tensor, "sample layer d_model"],
    fast: Sweep,
) -> float:
    """Largest difference of an effect on the answer's logit, on a few of the sweep's tuples."""
    step = max(1, len(fast.tuples) // HOOKED_TUPLES)
    largest = 0.0
    for i, sample in enumerate(samples):
        row = inputs(model, as_ids([sample.target]))
        effects = fast.of("logit")[i, ::step]
        with torch.no_grad():
            target = network(model)(**row, use_cache=False).logits[0, -1, sample.answer]
            for t, effect in zip(fast.tuples[::step], effects, strict=True):
                with patched(model, t, sample.site, vectors[i]):
                    logits = network(model)(**row, use_cache=False).logits[0, -1, sample.answer]
                largest = max(largest, _largest((logits - target).cpu() - effect))
    return largest


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
