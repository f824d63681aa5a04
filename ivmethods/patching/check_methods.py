"""Methods that say whether a checkpoint can be patched at all: checks, and the no-op control."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ivmethods.method import (
    Array,
    Computed,
    Data,
    Fact,
    Inputs,
    Measured,
    Method,
    Result,
    Running,
    Size,
    tokens_of,
)
from ivmethods.patching.checks import RUNNERS, Checks, RunnerName, check, checked_samples, no_op
from ivmethods.prompts.protocols import Protocol

RUNNER = Fact(RunnerName)
# Prompts that run beside two sweeps of pairs: patched by hooks, and padded.
_CHECKED_RUNS = 12


@dataclass(frozen=True)
class PatchingChecks(Method):
    """Whether a checkpoint can be patched at all, and the fastest runner that does it right.

    tolerance: of logits, by the dtype; None where what a remote model is served in is known there.
    """

    tolerance: float | None

    name: ClassVar = "checks"
    facts: ClassVar = {"checks": Fact(Checks)}

    @property
    def parameters(self) -> dict[str, Any]:
        """The tolerance, where it is known."""
        return {} if self.tolerance is None else {"tolerance": self.tolerance}

    def inputs(self, data: Data) -> Inputs:
        """A few samples of different lengths."""
        return (checked_samples(data.samples()),)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """The differences that were seen, and the runner."""
        (few,) = inputs
        return {}, {"checks": vars(check(running.model, few, memory_budget=running.memory_budget))}

    def refusal(self, result: Result, of: Measured) -> str | None:
        """Patching itself changes the model, or batches do."""
        checks = Checks(**result.info["checks"])
        if checks.passed:
            return None
        return (
            f"logit differences={checks.no_op:.2g} (no-op), {checks.hook_parity:.2g} "
            f"({checks.oracle}), {checks.padding:.2g} (padding), but should be 0 (no-op) and "
            f"at most {checks.tolerance:g} [{of.checkpoint}]; its activations cannot be "
            "patched faithfully "
            + ("there" if of.remote else "here: try --dtype float32 or --device cpu")
        )

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Two sweeps of pairs, and some runs beside."""
        tokens = tokens_of(inputs[0], "target")
        return 2 * size.sweep(tokens, min(2, size.layers)) + size.run(_CHECKED_RUNS * tokens)


@dataclass(frozen=True)
class NoOp(Method):
    """Change of the answer's logit when the target's own residuals are written.

    Every layer alone, on every sample: [sample, layer].
    """

    protocol: Protocol
    checks: PatchingChecks

    name: ClassVar = "no-op"
    forms: ClassVar = {"effects": Array("float32", "sample layer")}
    facts: ClassVar = {"runner": RUNNER}

    @property
    def label(self) -> str:
        """The protocol."""
        return self.protocol

    @property
    def parameters(self) -> dict[str, Any]:
        """The protocol."""
        return {"protocol": self.protocol}

    def before(self) -> tuple[Method, ...]:
        """The checks."""
        return (self.checks,)

    def inputs(self, data: Data) -> Inputs:
        """The samples of the protocol."""
        return (data.samples(self.protocol),)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """The changes, by the runner of the checks."""
        runner = runner_of(self.checks, running)
        budget = running.memory_budget
        effects = no_op(running.model, inputs[0], runner=RUNNERS[runner], memory_budget=budget)
        return {"effects": effects.numpy()}, {"runner": runner}

    def refusal(self, result: Result, of: Measured) -> str | None:
        """There is a change."""
        largest = self.read(result)
        if largest == 0:
            return None
        return (
            f"no-op effect={largest:.2g}, but should be 0 [{of.checkpoint}, {of.task}]; patching "
            "itself changes this model"
        )

    def read(self, result: Result) -> float:
        """The largest change."""
        return float(np.abs(result.arrays["effects"]).max())

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Two sweeps of single layers."""
        return 2 * size.sweep(tokens_of(inputs[0], "target"), 1)


def runner_of(checks: PatchingChecks, running: Running) -> RunnerName:
    """The runner that the checks chose."""
    name: RunnerName = running.ask(checks).info["checks"]["runner"]
    return name
