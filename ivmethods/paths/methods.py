"""Methods on paths: exact attribution, and the paths that rank the answer high."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

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
from ivmethods.model.handles import network
from ivmethods.model.layouts import linear_problem, weights_of
from ivmethods.model.ranks import HIGH_RANK
from ivmethods.model.recording import answers
from ivmethods.paths.graph import Granularity, Semantics, path_graph
from ivmethods.paths.linear_maps import LinearForm, attribution, completeness, linear_forms
from ivmethods.paths.results import Attributed, Tracing
from ivmethods.paths.tracing import DRAWS, Traced, trace_paths
from ivmethods.prompts.protocols import Sample

ANSWERS = ("the answer", "the contrast's answer", "a random token")
# Relative, of the linear form (section 6, Eq. 3); the rounding of 16 bits is that much coarser.
LARGEST_INCOMPLETENESS = {"float32": 1e-3, "float16": 0.01, "bfloat16": 0.05}
RELEASED_EPSILON = 1e-6
FORMS_AT_ONCE = 20
# Runs of a prompt that a linear form takes: the run itself, its maps, and their way back.
_FORM_RUNS = 3
_SHARES = Array("float32", "sample start layer head", 0.0, 1.0, nan=True)
_COUNTS = Array("float64", "sample start", 0.0, nan=True)


@dataclass(frozen=True)
class Attribution(Method):
    """The answer's logit as a sum over input tokens (NaN beyond a prompt's end) and biases."""

    name: ClassVar = "attribution"
    forms: ClassVar = {
        "tokens": Array("float32", "sample pos", nan=True),
        "biases": Array("float64", "sample"),
    }
    facts: ClassVar = {"completeness": Fact(float)}

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """What each input token contributes through all paths together."""
        (samples,) = inputs
        longest = max(len(sample.instructed) for sample in samples)
        tokens = np.full((len(samples), longest), np.nan, np.float32)
        biases, errors = [], []
        for i, form in enumerate(_forms(samples, running, "attribution")):
            parts = attribution(form, samples[i].answer)
            tokens[i, : len(parts.tokens)] = parts.tokens.cpu()
            biases.append(parts.biases)
            errors.append(completeness(form))
        return {"tokens": tokens, "biases": np.array(biases)}, {"completeness": max(errors)}

    def refusal(self, result: Result, of: Measured) -> str | None:
        """The linear form does not give the model's own logits."""
        error, most = float(result.info["completeness"]), LARGEST_INCOMPLETENESS[of.dtype]
        if error <= most:
            return None
        return (
            f"completeness={error:.2g}, but should be at most {most:g} "
            f"[linear maps of {of.checkpoint}, {of.task}]; paths of this model "
            "would not be its own: try --dtype float32"
        )

    def runs_on(self, config: Any, remote: bool) -> str | None:
        """Its block layout is known, and its weights are here."""
        return super().runs_on(config, remote) or linear_problem(config, remote=remote)

    def read(self, result: Result) -> Attributed:
        """The sum."""
        arrays, completeness = result.arrays, float(result.info["completeness"])
        return Attributed(arrays["tokens"], arrays["biases"], completeness)

    def flop(self, inputs: Inputs, size: Size) -> float:
        """A linear form of each prompt."""
        return size.run(_FORM_RUNS * tokens_of(inputs[0], "instructed"))


@dataclass(frozen=True)
class Paths(Method):
    """Paths of all tokens from `first` on, of k edges a head, and how high each ranks the answer.

    max_paths: a token with more has some of its paths drawn, by `seed`.
    """

    k: int
    semantics: Semantics
    granularity: Granularity
    first: int
    max_paths: int
    seed: int

    name: ClassVar = "paths"
    forms: ClassVar = {
        "totals": _COUNTS,
        "examined": _COUNTS,
        "hits": Array("float64", "sample start answer", 0.0, nan=True),
        "uses": _SHARES,
        "expected": _SHARES,
    }
    facts: ClassVar = {
        "strongest": Fact(tuple[tuple[tuple[int, ...], float], ...]),
        "totals": Fact(tuple[tuple[int, ...], ...], "sample"),
        "single heads": Fact(int),
    }

    @property
    def label(self) -> str:
        """k, semantics and granularity."""
        return f"k={self.k} {self.semantics} {self.granularity}"

    @property
    def parameters(self) -> dict[str, Any]:
        """All fields, and what ranks high and how many paths are drawn."""
        return {**vars(self), "high rank": HIGH_RANK, "draws": DRAWS}

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """The answers."""
        return {"answer": len(ANSWERS)}

    def runs_on(self, config: Any, remote: bool) -> str | None:
        """As `Attribution`; the scripts' W_O W_V need as many key-value heads as heads."""
        heads = getattr(config, "num_attention_heads", None)
        values = getattr(config, "num_key_value_heads", heads)
        if self._is_released and values != heads:
            return f"num_key_value_heads={values}, but should be {heads} [released paths]"
        return super().runs_on(config, remote) or linear_problem(config, remote=remote)

    def before(self) -> tuple[Method, ...]:
        """The linear form is complete."""
        return (Attribution(),)

    def read(self, result: Result) -> Tracing:
        """The paths."""
        strongest = tuple((tuple(path), logit) for path, logit in result.info["strongest"])
        single = result.info["single heads"]
        arrays = result.arrays
        return Tracing(self.k, self.first, **arrays, strongest=strongest, single_heads=single)

    def inputs(self, data: Data) -> Inputs:
        """The samples, and those of the protocol whose answers are ranked."""
        return (data.samples(), data.samples("released" if self._is_released else "paper"))

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Each sample's paths; NaN where a prompt has ended."""
        samples, answering = inputs
        tokens, single_heads = _answer_tokens(running, answering, self.seed), 0
        traced: list[Traced] = []
        label = f"paths at k = {self.k}, {self.semantics}"
        for i, form in enumerate(_forms(samples, running, label)):
            if not traced:
                single = path_graph(form, k=self.k, granularity="head")
                single_heads = single.total(samples[0].t_inst)
            if self._is_released:
                form = replace(form, epsilon=RELEASED_EPSILON)
            graph = path_graph(
                form, k=self.k, granularity=self.granularity, semantics=self.semantics
            )
            traced.append(
                trace_paths(
                    form,
                    graph,
                    range(self.first, len(form.embedding)),
                    tokens[i].clamp(min=0),
                    below=HIGH_RANK + self._is_released,
                    max_paths=self.max_paths,
                    seed=self.seed,
                    memory_budget=running.memory_budget,
                )
            )
        arrays = _arrays(traced)
        arrays["hits"] = np.where(tokens.numpy()[:, None] < 0, np.nan, arrays["hits"])
        return arrays, {
            "strongest": [[list(path.positions), path.logit] for path in traced[0].strongest],
            "totals": [list(each.totals) for each in traced],
            "single heads": single_heads,
        }

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Linear forms, and a ranking for each path; backwards, a layer has few edges a position.

        At most so many paths end at T_last, and at most so many are followed from each start.
        """
        samples, _ = inputs
        tokens = tokens_of(samples, "instructed")
        ending = (1 + self.k * size.heads) ** size.layers * len(samples)
        starting = (tokens - self.first * len(samples)) * self.max_paths
        return size.run(_FORM_RUNS * tokens) + size.ranking * min(ending, starting)

    @property
    def _is_released(self) -> bool:
        return self.semantics == "released"


def _answer_tokens(
    running: Running, samples: Sequence[Sample], seed: int
) -> Int[Tensor, "sample answer"]:
    """ANSWERS of every sample; -1 where there is none."""
    vocabulary = network(running.model).get_output_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(seed)
    random = torch.randint(vocabulary, (len(samples),), generator=generator)
    return torch.stack([*answers(list(samples)), random], dim=1)


def _forms(samples: Sequence[Sample], running: Running, label: str) -> Iterator[LinearForm]:
    """Linear forms of the samples' instructed runs, a few at a time."""
    weights = weights_of(running.model)
    for start in range(0, len(samples), FORMS_AT_ONCE):
        some = [sample.instructed for sample in samples[start : start + FORMS_AT_ONCE]]
        for i, form in enumerate(linear_forms(running.model, some, weights=weights), start=start):
            running.progress(f"{label}, {i}/{len(samples)} samples")
            yield form


def _arrays(traced: Sequence[Traced]) -> dict[str, np.ndarray]:
    """What was traced of every sample, a row a sample, NaN after a prompt's last start."""
    most = max(len(each.starts) for each in traced)

    def stacked(rows: list[np.ndarray]) -> np.ndarray:
        after = [[(0, most - len(row))] + [(0, 0)] * (row.ndim - 1) for row in rows]
        padded = [
            np.pad(row.astype(np.float64), pad, constant_values=np.nan)
            for row, pad in zip(rows, after, strict=True)
        ]
        return np.stack(padded)

    return {
        "totals": stacked([np.array(each.totals, dtype=np.float64) for each in traced]),
        "examined": stacked([np.array(each.examined) for each in traced]),
        "hits": stacked([each.hits for each in traced]),
        "uses": stacked([each.uses for each in traced]).astype(np.float32),
        "expected": stacked([each.expected for each in traced]).astype(np.float32),
    }
