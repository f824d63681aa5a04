"""Methods of patching: the layer sweep, and its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ivmethods.method import (
    EFFECTS,
    SCORES,
    Array,
    Computed,
    Data,
    Fact,
    Inputs,
    Method,
    Result,
    Running,
    Size,
    SourceName,
    by_metric,
    tokens_of,
)
from ivmethods.model.recording import record
from ivmethods.patching.check_methods import RUNNER, NoOp, PatchingChecks, runner_of
from ivmethods.patching.checks import RUNNERS
from ivmethods.patching.controls import effects_of, norm_matched_random
from ivmethods.patching.sweep import LayerTuple, Sweep, layer_tuples, sweep
from ivmethods.prompts.protocols import Protocol, Source

RANDOM_DRAWS = 20
RELEASED_ORDER = 2


def _are_of_a_sweep(tuples: Sequence[Sequence[int]]) -> bool:
    order = max(map(len, tuples), default=0)
    layers = 1 + max((layer for t in tuples for layer in t), default=0)
    return [*map(tuple, tuples)] == [*layer_tuples(layers, order)]


@dataclass(frozen=True)
class LayerSweep(Method):
    """Effects of every tuple of at most `order` layers: [metric, sample, tuple].

    Those of several source texts are averaged over them. The no-op control runs with the sweeps of
    every protocol. Source: section 5.1.
    """

    source: SourceName
    protocol: Protocol
    order: int
    checks: PatchingChecks

    name: ClassVar = "sweep"
    forms: ClassVar = {
        "effects": by_metric("sample tuple", EFFECTS),
        "target": by_metric("sample", SCORES),
        "degenerate": Array("bool", "tuple"),
    }
    facts: ClassVar = {
        "tuples": Fact(tuple[tuple[int, ...], ...], "tuple", _are_of_a_sweep),
        "runner": RUNNER,
    }

    @property
    def label(self) -> str:
        """Source and protocol."""
        return f"{self.source} {self.protocol}"

    @property
    def parameters(self) -> dict[str, Any]:
        """Protocol and order; the source's tokens are among the inputs."""
        return {"protocol": self.protocol, "order": self.order}

    def before(self) -> tuple[Method, ...]:
        """The checks, and the no-op control."""
        return (self.checks, NoOp(self.protocol, self.checks))

    def inputs(self, data: Data) -> Inputs:
        """The samples of the protocol, and the source texts."""
        return (data.samples(self.protocol), data.source(self.source, self.protocol))

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """A sweep for each source text, by the runner of the checks."""
        samples, texts = inputs
        runner = runner_of(self.checks, running)

        def swept(number: int, text: Source) -> Sweep:
            vector = _residual(running, text)
            label = f"sweep from {self.source} {number}, protocol {self.protocol}"
            return sweep(
                running.model,
                samples,
                vector.expand(len(samples), *vector.shape),
                order=self.order,
                memory_budget=running.memory_budget,
                runner=RUNNERS[runner],
                progress=lambda done: running.progress(f"{label}, {done}/{len(samples)} samples"),
            )

        results = [swept(number, text) for number, text in enumerate(texts, start=1)]
        arrays = {
            "effects": torch.stack([result.effects for result in results]).mean(dim=0).numpy(),
            "target": results[0].target.numpy(),
            "degenerate": results[0].degenerate.numpy(),
        }
        return arrays, {"tuples": [list(t) for t in results[0].tuples], "runner": runner}

    def read(self, result: Result) -> Sweep:
        """The sweep; that of several source texts is their mean."""
        tensors = {name: torch.from_numpy(array) for name, array in result.arrays.items()}
        tuples = tuple(tuple(t) for t in result.info["tuples"])
        return Sweep(tuples, tensors["effects"], tensors["target"], tensors["degenerate"])

    def flop(self, inputs: Inputs, size: Size) -> float:
        """A sweep for each source text, and its own run."""
        samples, texts = inputs
        sweeps = len(texts) * size.sweep(tokens_of(samples, "target"), self.order)
        return sweeps + size.run(tokens_of(texts, "ids"))


@dataclass(frozen=True)
class AllLayers(Method):
    """Effects of patching every layer with the own instruction: [metric, sample]."""

    name: ClassVar = "all layers"
    forms: ClassVar = {"effects": by_metric("sample", EFFECTS)}

    def inputs(self, data: Data) -> Inputs:
        """The samples and the instruction."""
        return (data.samples(), data.source())

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """One run with all layers, and one without."""
        samples, (instruction,) = inputs
        own = _residual(running, instruction)
        effects = _effects(running, samples, own[None], tuple(range(len(own))))
        return {"effects": effects[:, :, 0]}, {}

    def read(self, result: Result) -> np.ndarray:
        """The effects."""
        return result.arrays["effects"]

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Each prompt once, and the instruction."""
        samples, texts = inputs
        return size.run(tokens_of(samples, "target") + tokens_of(texts, "ids"))


@dataclass(frozen=True)
class Controls(Method):
    """Effects of other vectors at the same site and tuple: [metric, sample, draw] each.

    `random`: norm-matched random vectors. `positions`: the residuals of every other position of
    the instruction, in order. `neutral`: T_last residuals of neutral sentences.
    layers: the tuple; none where it is not known yet, as for a plan.
    """

    layers: LayerTuple
    draws: int
    seed: int

    name: ClassVar = "controls"
    forms: ClassVar = {
        "random": by_metric("sample draw", EFFECTS),
        "neutral": by_metric("sample neutral", EFFECTS),
        "positions": replace(by_metric("sample pos", EFFECTS), optional=True),
    }

    @property
    def label(self) -> str:
        """The layers."""
        return str(self.layers) if self.layers else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """All fields."""
        return {"layers": list(self.layers), "draws": self.draws, "seed": self.seed}

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """The numbers of vectors."""
        return {"draw": self.draws, "neutral": len(inputs[2])}

    def inputs(self, data: Data) -> Inputs:
        """The samples, the instruction, and neutral sentences."""
        return (data.samples(), data.source(), data.source("neutral"))

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """One run for every vector and sample, and one without."""
        samples, (instruction,), neutral = inputs
        own = _residual(running, instruction)
        every = range(instruction.start, len(instruction.ids))
        others = [p for p in every if p != instruction.position]
        written = {
            "random": norm_matched_random(own, draws=self.draws, seed=self.seed),
            "neutral": torch.stack([_residual(running, source) for source in neutral]),
        }
        if others:
            written["positions"] = record(running.model, instruction.ids, positions=others)
        return {
            name: _effects(running, samples, vectors, self.layers)
            for name, vectors in written.items()
        }, {}

    def read(self, result: Result) -> Mapping[str, np.ndarray]:
        """The effects by kind of vector; of an instruction of one token, those of no position."""
        random = result.arrays["random"]
        return {"positions": np.zeros((*random.shape[:2], 0), np.float32), **result.arrays}

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Each prompt once a vector."""
        samples, (instruction,), neutral = inputs
        rows = self.draws + len(neutral) + len(instruction.ids) - 1
        return size.run(rows * tokens_of(samples, "target"))


def _residual(running: Running, source: Source) -> Tensor:
    return record(running.model, source.ids, positions=[source.position])[0]


def _effects(
    running: Running, samples: Sequence[Any], vectors: Tensor, layers: LayerTuple
) -> np.ndarray:
    budget = running.memory_budget
    found = effects_of(running.model, list(samples), vectors, layers, memory_budget=budget)
    return found.numpy()
