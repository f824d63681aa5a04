"""Checks of a new checkpoint: whether it can be patched, and how its sweeps are run."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from nnsight.intervention.backends.remote import RemoteError
from torch import Tensor

from ivmethods.model.handles import (
    as_ids,
    is_remote,
    kept,
    last_logits,
    last_logits_outside,
    layer_count,
    trace,
)
from ivmethods.model.memory import in_pieces, parts_of, row_bytes
from ivmethods.model.metrics import METRICS, require_finite
from ivmethods.model.recording import record_sites
from ivmethods.patching.fan_out import fan_out, fan_out_each
from ivmethods.patching.reference import batched, patched
from ivmethods.patching.sweep import Batch, Rows, Runner, Sweep, sweep
from ivmethods.prompts.protocols import Sample

RunnerName = Literal["fan_out", "fan_out_each", "batched"]
RUNNERS: dict[RunnerName, Runner] = {
    "fan_out": fan_out,
    "fan_out_each": fan_out_each,
    "batched": batched,
}
HOOKED_TUPLES = 8
FIRST_SAMPLES = 4
HOOKS, PLAIN = "hooks", "the plain batched sweep"
# Largest difference of logits between passes of different shapes, whose sums are in other orders;
# the rounding of a 16-bit dtype is that much coarser.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.5}


@dataclass(frozen=True)
class Checks:
    """Largest absolute differences of logits, and the fastest runner that agrees with the oracle.

    no_op: a run patched with its own activations against the unpatched run, rows of passes of one
    shape: there is no rounding in between, so it has to be 0 in every dtype.
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
        """Whether the no-op is exactly 0, and no other difference (or NaN) is too large."""
        others = (self.hook_parity, self.padding)
        return self.no_op == 0 and all(x <= self.tolerance for x in others)


def checked_samples(samples: list[Sample]) -> list[Sample]:
    """The first four samples, that of the shortest target run, and twice that of the longest.

    Beyond a sliding window the model makes a mask of the batch's size, which a batch of one would
    hide: hence twice.
    """
    by_length = sorted(samples, key=lambda sample: len(sample.target))
    return [*samples[:FIRST_SAMPLES], by_length[0], by_length[-1], by_length[-1]]


def check(model: TransformersModel, samples: list[Sample], *, memory_budget: int) -> Checks:
    """Check a checkpoint on a few samples of different lengths, as of `checked_samples`.

    The first runner of `RUNNERS` whose sweep of pairs agrees with plain hooks, on tuples spread
    over it, is chosen; of a remote model, with the plain batched sweep on all tuples.

    Raises: NotFiniteError, MemoryError.
    """
    own = record_sites(model, samples, memory_budget=memory_budget)
    order = min(2, layer_count(model))
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
    own_written = no_op(model, samples, runner=RUNNERS[chosen], memory_budget=memory_budget)
    padding = _padding_difference(model, samples, memory_budget)
    return Checks(_largest(own_written), parity, padding, tolerance, chosen, oracle)


def no_op(
    model: TransformersModel, samples: list[Sample], *, runner: Runner, memory_budget: int
) -> Float[Tensor, "sample layer"]:
    """Change of the answer's logit when a run's own residual is written, at each layer alone.

    Against a pass of the same shape in which nothing is written: 0 in every dtype.

    Raises: NotFiniteError, MemoryError.
    """

    def changes(model: TransformersModel, batch: Batch) -> tuple[Rows, Tensor]:
        rows, unchanged = runner(model, replace(batch, writes="nothing"))
        return rows, runner(model, replace(batch, writes="own"))[1] - unchanged

    unused = torch.zeros(len(samples), layer_count(model), 1)
    result = sweep(model, samples, unused, order=1, memory_budget=memory_budget, runner=changes)
    # Not only between rows: the passes themselves are compared.
    return result.of("logit") + result.target[METRICS.index("logit"), :, None]


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
        row = as_ids([sample.target])
        effects = fast.of("logit")[i, ::step]
        with torch.no_grad():
            target = last_logits_outside(model, row)[0, sample.answer]
            for t, effect in zip(fast.tuples[::step], effects, strict=True):
                with patched(model, t, sample.site, vectors[i]):
                    logit = last_logits_outside(model, row)[0, sample.answer]
                largest = max(largest, _largest((logit - target).cpu() - effect))
    return largest


def _padding_difference(
    model: TransformersModel, samples: list[Sample], memory_budget: int
) -> float:
    """Largest difference of T_last logits between a left-padded batch and each prompt alone."""
    length = max(len(sample.instructed) for sample in samples)
    pad = model.tokenizer.pad_token_id or 0
    largest = 0.0

    def run(some: list[int]) -> None:
        nonlocal largest
        prompts = [samples[i].instructed for i in some]
        rows = as_ids([(pad,) * (length - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts])
        more = {"attention_mask": mask, "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}
        with torch.no_grad(), trace(model, rows, **more):
            padded = save(kept(last_logits(model)))
        for ids, row in zip(prompts, padded, strict=True):
            with torch.no_grad(), trace(model, as_ids([ids])):
                alone = save(kept(last_logits(model)))
            largest = max(largest, _largest(alone[0] - row))

    in_pieces(
        [list(range(len(samples)))],
        memory_budget // row_bytes(model, length),
        count=len,
        split=parts_of,
        run=run,
    )
    return largest


def _largest(difference: Tensor) -> float:
    require_finite(difference.reshape(-1), "differences of logits", "values")
    return float(difference.float().abs().max())
