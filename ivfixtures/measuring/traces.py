"""Path measurements on a checkpoint and task, as claims read them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ivfixtures.measuring.bench import Bench
from ivmethods.model.handles import network
from ivmethods.paths import methods
from ivmethods.paths.graph import Semantics


@dataclass(frozen=True)
class Tracing:
    """Paths of one k, by sample and start; NaN where a prompt has ended.

    `first`: position of the first start, the others follow it. `totals`: number of paths (the exact
    integer rounded to a float). `examined`: how many were followed; fewer where they were drawn.
    `hits`: how many of those rank each of ANSWERS high; NaN where there is no such answer. `uses`,
    `expected`: shares of the high-ranking paths and of all paths that use each head. `strongest`:
    positions and logit of the first sample's strongest paths. `single_heads`: number of that
    sample's paths from T_inst if every edge is one head, exact.
    """

    k: int
    first: int
    totals: Float[np.ndarray, "sample start"]
    examined: Float[np.ndarray, "sample start"]
    hits: Float[np.ndarray, "sample start answer"]
    uses: Float[np.ndarray, "sample start layer head"]
    expected: Float[np.ndarray, "sample start layer head"]
    strongest: tuple[tuple[tuple[int, ...], float], ...]
    single_heads: int

    @property
    def high(self) -> Float[np.ndarray, "sample start answer"]:
        """Number of high-ranking paths; an estimate where paths were drawn."""
        return self.hits * (self.totals / np.maximum(self.examined, 1))[:, :, None]


@dataclass(frozen=True)
class Attributed:
    """The answer's logit as a sum over input tokens (NaN beyond a prompt's end) and biases."""

    tokens: Float[np.ndarray, "sample pos"]
    biases: Float[np.ndarray, " sample"]
    completeness: float


def sub_position(bench: Bench) -> int | None:
    """Position of the last token of the task's sub-instruction, if it has one."""
    sub = bench.task.sub_instruction
    return None if sub is None else bench.position_of(sub)


def first_start(bench: Bench) -> int:
    """Position before T_inst, or before the sub-instruction's end: paths start there and after."""
    sub = sub_position(bench)
    return max(0, (bench.samples()[0].t_inst if sub is None else sub) - 1)


def attributed(bench: Bench) -> Attributed:
    """What each input token contributes to the answer's logit through all paths together."""
    made = bench.get(methods.Attribution())
    completeness = float(made.info["completeness"])
    return Attributed(made.arrays["tokens"], made.arrays["biases"], completeness)


def paths_of(bench: Bench, k: int, semantics: Semantics = "equation") -> methods.Paths:
    """Paths of all tokens from the one before T_inst on, or before the sub-instruction's."""
    options = bench.options
    granularity = "merged" if semantics == "released" else options.path_granularity
    first = first_start(bench)
    return methods.Paths(k, semantics, granularity, first, options.max_paths, options.seed)


def traced(bench: Bench, k: int, semantics: Semantics = "equation") -> Tracing:
    """Trace these paths."""
    method = paths_of(bench, k, semantics)
    made = bench.get(method)
    strongest = tuple((tuple(path), logit) for path, logit in made.info["strongest"])
    single_heads = made.info["single heads"]
    return Tracing(k, method.first, **made.arrays, strongest=strongest, single_heads=single_heads)


def released_applies(bench: Bench) -> bool:
    """Whether the scripts' W_O W_V multiply: they need as many key-value heads as heads."""
    config = network(bench.model).config
    heads = config.num_attention_heads
    return getattr(config, "num_key_value_heads", heads) == heads
