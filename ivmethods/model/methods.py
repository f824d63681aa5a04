"""Methods that only run a model: greedy answers, and the metrics of unpatched runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any, ClassVar

import numpy as np

from ivmethods.method import (
    SCORES,
    Computed,
    Fact,
    Inputs,
    Method,
    Result,
    Running,
    Size,
    by_metric,
    tokens_of,
)
from ivmethods.model.behaviour import greedy_answers
from ivmethods.model.recording import run_scores

RUNS = ("target", "instructed")


@dataclass(frozen=True)
class Behaviour(Method):
    """Greedy answers to the instructed prompts: `new_tokens` at most, up to one of the `stops`.

    Raises: NotFiniteError, a logit is NaN or infinite.
    """

    new_tokens: int
    stops: tuple[Any, ...]

    name: ClassVar = "behaviour"
    facts: ClassVar = {"answers": Fact(tuple[str, ...], "sample")}

    @property
    def parameters(self) -> dict[str, Any]:
        """The stops as JSON has them."""
        return {"new_tokens": self.new_tokens, "stops": list(self.stops)}

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """The answers in the order of samples."""
        (samples,) = inputs
        texts = greedy_answers(
            running.model, samples, **vars(self), memory_budget=running.memory_budget
        )
        return {}, {"answers": texts}

    def read(self, result: Result) -> list[str]:
        """The answers."""
        return list(result.info["answers"])

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Each token of an answer is a run of all before it; at most, as answers may end sooner."""
        (samples,) = inputs
        passes = self.new_tokens
        tokens = passes * tokens_of(samples, "instructed") + comb(passes, 2) * len(samples)
        return size.run(tokens)


@dataclass(frozen=True)
class Runs(Method):
    """Metrics of the unpatched runs, `target` and `instructed`, each [metric, sample]."""

    name: ClassVar = "runs"
    forms: ClassVar = {run: by_metric("sample", SCORES) for run in RUNS}

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Both runs."""
        (samples,) = inputs
        return {
            run: run_scores(
                running.model,
                samples,
                [getattr(sample, run) for sample in samples],
                memory_budget=running.memory_budget,
            ).numpy()
            for run in RUNS
        }, {}

    def read(self, result: Result) -> Mapping[str, np.ndarray]:
        """The metrics by run."""
        return result.arrays

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Each prompt once."""
        return size.run(sum(tokens_of(inputs[0], run) for run in RUNS))
