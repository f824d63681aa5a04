"""Methods on heads of clean and corrupt runs: patching each, its no-op control, its estimate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from ivmethods.method import (
    Array,
    Computed,
    Data,
    Inputs,
    Measured,
    Method,
    Result,
    Running,
    Size,
    tokens_of,
)
from ivmethods.model.layouts import layout_problem
from ivmethods.patching.heads import (
    Direction,
    Positions,
    attributed_heads,
    logit_differences,
    no_op_heads,
    patched_heads,
)

Nodes = Literal["heads"]
_EFFECTS = {"effects": Array("float32", "sample layer head")}
# Whether writing acts by itself is a matter of the model, hardly of the pair.
_NO_OP_PAIRS = 8
# A backward pass costs two forward ones.
_GRADIENT_RUNS = 3


class PairMethod(Method):
    """A method whose inputs are pairs, on the heads of a model."""

    def runs_on(self, config: Any, remote: bool) -> str | None:
        """It is known which weights read the heads."""
        return super().runs_on(config, remote) or layout_problem(config, "heads")

    def inputs(self, data: Data) -> Inputs:
        """The pairs."""
        return (data.pairs(),)


@dataclass(frozen=True)
class PairScores(PairMethod):
    """Logit differences (answer - wrong) of the unpatched runs: [sample] each."""

    name: ClassVar = "pair scores"
    forms: ClassVar = {
        "clean": Array("float32", "sample"),
        "corrupt": Array("float32", "sample"),
    }

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Each run once."""
        (pairs,) = inputs
        budget = running.memory_budget
        return {
            run: logit_differences(
                running.model, pairs, [getattr(pair, run) for pair in pairs], memory_budget=budget
            ).numpy()
            for run in self.forms
        }, {}

    def read(self, result: Result) -> Mapping[str, np.ndarray]:
        """The logit differences by run."""
        return result.arrays

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Each run once."""
        return size.run(2 * tokens_of(inputs[0], "clean"))


@dataclass(frozen=True)
class HeadNoOp(PairMethod):
    """Effects of writing each head's own output into the corrupt run of a few pairs."""

    positions: Positions

    name: ClassVar = "head no-op"
    forms: ClassVar = {"effects": Array("float32", "pair layer head")}

    @property
    def label(self) -> str:
        """The positions."""
        return self.positions

    def inputs(self, data: Data) -> Inputs:
        """A few pairs."""
        return (data.pairs()[:_NO_OP_PAIRS],)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Two runs a pair and head."""
        (pairs,) = inputs
        budget = running.memory_budget
        effects = no_op_heads(running.model, pairs, positions=self.positions, memory_budget=budget)
        return {"effects": effects.numpy()}, {}

    def read(self, result: Result) -> float:
        """The largest effect."""
        return float(np.abs(result.arrays["effects"]).max())

    def refusal(self, result: Result, of: Measured) -> str | None:
        """There is an effect."""
        largest = self.read(result)
        if largest == 0:
            return None
        return (
            f"no-op effect={largest:.2g}, but should be 0 [heads of {of.checkpoint}, {of.task}]; "
            "patching itself changes this model"
        )

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Two runs a pair and head."""
        return 2 * _runs_of_each_head(inputs, size)


@dataclass(frozen=True)
class _Effects(PairMethod):
    """Effects of nodes, each alone: logit difference patched - unpatched, [sample, layer, head].

    direction: denoising, clean values into the corrupt run, or noising, the other way round.
    positions: where a node's values are written.
    """

    nodes: Nodes
    direction: Direction = "denoising"
    positions: Positions = "all"

    forms: ClassVar = _EFFECTS

    def read(self, result: Result) -> Float[np.ndarray, "sample layer head"]:
        """The effects."""
        return result.arrays["effects"]

    @property
    def label(self) -> str:
        """All fields."""
        return f"{self.nodes} {self.direction} {self.positions}"


@dataclass(frozen=True)
class ActivationPatching(_Effects):
    """Effects of nodes, by patching each alone."""

    name: ClassVar = "activation patching"

    def before(self) -> tuple[Method, ...]:
        """The no-op control."""
        return (HeadNoOp(self.positions),)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """One run a pair and node."""
        (pairs,) = inputs
        effects = patched_heads(
            running.model,
            pairs,
            direction=self.direction,
            positions=self.positions,
            memory_budget=running.memory_budget,
            progress=lambda done: running.progress(f"{self.role}, {done} runs"),
        )
        return {"effects": effects.numpy()}, {}

    def flop(self, inputs: Inputs, size: Size) -> float:
        """One run a pair and node, and each run unpatched."""
        return _runs_of_each_head(inputs, size) + size.run(2 * tokens_of(inputs[0], "clean"))


@dataclass(frozen=True)
class AttributionPatching(_Effects):
    """First-order estimates of the same effects."""

    name: ClassVar = "attribution patching"

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Two forward passes and a backward pass a pair."""
        (pairs,) = inputs
        effects = attributed_heads(
            running.model,
            pairs,
            direction=self.direction,
            positions=self.positions,
            memory_budget=running.memory_budget,
        )
        return {"effects": effects.numpy()}, {}

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Two forward passes and a backward pass a pair."""
        return size.run((1 + _GRADIENT_RUNS) * tokens_of(inputs[0], "clean"))


def _runs_of_each_head(inputs: Inputs, size: Size) -> float:
    return size.run(size.layers * size.heads * tokens_of(inputs[0], "clean"))
