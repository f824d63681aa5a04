"""Checks of a new checkpoint: whether it can be patched, and how its sweeps are run."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from nnsight.intervention.backends.remote import RemoteError
from torch import Tensor

from ivmethods.fan_out import fan_out, fan_out_each
from ivmethods.model import (
    as_ids,
    inputs,
    is_remote,
    kept,
    last_logits,
    layer_count,
    network,
    trace,
)
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
HOOKS, PLAIN = "hooks", "the plain batched sweep"
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.5}


@dataclass(frozen=True)
class Checks:
    """Largest absolute differences of logits, and the fastest runner that agrees with the oracle.

    no_op: a run patched with its own activations against the unpatched run.
    hook_parity: the runner's sweep against the oracle: plain PyTorch hooks; of a remote model, that
    no hook reaches, the plain batched sweep.
    padding: a left-padded batch against each prompt alone.
    """

    no_op: float
    hook_parity: float
    padding: float
    tolerance: float
    runner: RunnerName
    oracle: str = HOOKS

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance (NaN is not)."""
        return all(x <= self.tolerance for x in (self.no_op, self.hook_parity, self.padding))


def check(model: TransformersModel, samples: list[Sample], *, memory_budget: int) -> Checks:
    """Check a checkpoint on a few samples of different lengths.

    The first runner of `RUNNERS` whose sweep of pairs agrees with plain hooks, on tuples spread
    over it, is chosen; of a remote model, with the plain batched sweep on all tuples.

    Source: DESIGN 3.3, 3.4.
    """
    own, order = record_sites(model, samples), min(2, layer_count(model))
    tolerance = TOLERANCE[own.dtype]
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    other = noise / noise.norm(dim=-1, keepdim=True) * own.float().norm(dim=-1, keepdim=True)

    def swept(vectors: Tensor, runner: Runner) -> Sweep:
        return sweep(
            model, samples, vectors, order=order, memory_budget=memory_budget, runner=runner
        )

    if is_remote(model):
        plain = swept(other, batched).of("logit")
        oracle, difference = PLAIN, lambda fast: _largest(fast.of("logit") - plain)
    else:
        oracle = HOOKS
        difference = partial(_difference_to_hooks, model, samples, other)
    parity = torch.inf
    chosen: RunnerName = "batched"
    for name, runner in RUNNERS.items():
        try:
            fast = swept(other, runner)
        # its masks do not broadcast over a grown batch
        except (RuntimeError, ValueError, RemoteError):
            continue
        parity, chosen = difference(fast), name
        if parity <= tolerance:
            break
    no_op = _largest(swept(own, RUNNERS[chosen]).of("logit"))
    return Checks(no_op, parity, _padding_difference(model, samples), tolerance, chosen, oracle)


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
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.no_grad(), trace(model, as_ids(rows), attention_mask=mask, position_ids=positions):
        padded = save(kept(last_logits(model)))
    largest = 0.0
    for sample, row in zip(samples, padded, strict=True):
        with torch.no_grad(), trace(model, as_ids([sample.instructed])):
            alone = save(kept(last_logits(model)))
        largest = max(largest, _largest(alone[0] - row))
    return largest


def _largest(difference: Tensor) -> float:
    return float(difference.float().abs().max())
