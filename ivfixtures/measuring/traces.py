"""Path measurements on a checkpoint and task, through the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivfixtures.measuring import methods
from ivfixtures.measuring.bench import Bench, CheckpointRefusedError
from ivfixtures.measuring.material import inputs_digest
from ivmethods.model.handles import network
from ivmethods.model.layouts import weights_of
from ivmethods.model.ranks import HIGH_RANK
from ivmethods.model.recording import answers
from ivmethods.paths.graph import Semantics, path_graph
from ivmethods.paths.linear_maps import LinearForm, attribution, completeness, linear_forms
from ivmethods.paths.tracing import DRAWS, Traced, trace_paths
from ivmethods.prompts.protocols import Sample

ANSWERS = ("the answer", "the contrast's answer", "a random token")
# Relative, of the linear form (section 6, Eq. 3); the rounding of 16 bits is that much coarser.
LARGEST_INCOMPLETENESS = {"float32": 1e-3, "float16": 0.01, "bfloat16": 0.05}
RELEASED_EPSILON = 1e-6
FORMS_AT_ONCE = 20


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
    """What each input token contributes to the answer's logit through all paths together.

    Raises:
        CheckpointRefusedError: the linear form does not give the model's own logits.
    """

    def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        longest = max(len(sample.instructed) for sample in bench.samples())
        tokens = np.full((len(bench.items), longest), np.nan, np.float32)
        biases, errors = [], []
        for i, form in enumerate(_forms(bench, "attribution")):
            found = attribution(form, bench.samples()[i].answer)
            tokens[i, : len(found.tokens)] = found.tokens.cpu()
            biases.append(found.biases)
            errors.append(completeness(form))
        return {"tokens": tokens, "biases": np.array(biases)}, {"completeness": max(errors)}

    found = bench.measure(methods.ATTRIBUTION, {}, compute)
    error, most = float(found.info["completeness"]), LARGEST_INCOMPLETENESS[bench.options.dtype]
    if not error <= most:
        raise CheckpointRefusedError(
            f"completeness={error:.2g}, but should be at most {most:g} "
            f"[linear maps of {bench.checkpoint.name}, {bench.task.name}]; paths of this model "
            "would not be its own: try --dtype float32"
        )
    return Attributed(found.arrays["tokens"], found.arrays["biases"], error)


def traced(bench: Bench, k: int, semantics: Semantics = "equation") -> Tracing:
    """Trace the paths of all tokens from the one before T_inst on, or before the sub-instruction's.

    Raises:
        CheckpointRefusedError: the linear form is not complete.
    """
    attributed(bench)
    options, samples, first = bench.options, bench.samples(), first_start(bench)
    granularity = "merged" if semantics == "released" else options.path_granularity
    parameters = {
        "k": k,
        "semantics": semantics,
        "granularity": granularity,
        "first": first,
        "high rank": HIGH_RANK,
        "max_paths": options.max_paths,
        "draws": DRAWS,
        "seed": options.seed,
    }

    answering = bench.samples("released" if semantics == "released" else "paper")

    def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tokens, single_heads = _answer_tokens(bench, answering), 0
        found: list[Traced] = []
        for i, form in enumerate(_forms(bench, f"paths at k = {k}, {semantics}")):
            if not found:
                single = path_graph(form, k=k, granularity="head")
                single_heads = single.total(samples[0].t_inst)
            if semantics == "released":
                form = replace(form, epsilon=RELEASED_EPSILON)
            found.append(
                trace_paths(
                    form,
                    path_graph(form, k=k, granularity=granularity, semantics=semantics),
                    range(first, len(form.embedding)),
                    tokens[i].clamp(min=0),
                    below=HIGH_RANK + (semantics == "released"),
                    max_paths=options.max_paths,
                    seed=options.seed,
                    memory_budget=bench.memory_budget,
                )
            )
        strongest = [[list(path.positions), path.logit] for path in found[0].strongest]
        totals = [list(one.totals) for one in found]
        arrays = _arrays(found)
        arrays["hits"] = np.where(tokens.numpy()[:, None] < 0, np.nan, arrays["hits"])
        info = {"strongest": strongest, "totals": totals, "single heads": single_heads}
        return arrays, info

    stored = bench.measure(
        *(methods.PATHS, parameters, compute),
        inputs=inputs_digest(samples, answering),
        sizes={"answer": len(ANSWERS)},
        of=f"k={k} {semantics} {granularity}",
    )
    info = stored.info
    strongest = tuple((tuple(path), logit) for path, logit in info["strongest"])
    return Tracing(
        k, first, **stored.arrays, strongest=strongest, single_heads=info["single heads"]
    )


def released_applies(bench: Bench) -> bool:
    """Whether the scripts' W_O W_V multiply: they need as many key-value heads as heads."""
    config = network(bench.model).config
    heads = config.num_attention_heads
    return getattr(config, "num_key_value_heads", heads) == heads


def _answer_tokens(bench: Bench, samples: list[Sample]) -> Int[Tensor, "sample answer"]:
    """ANSWERS of every sample; -1 where there is none."""
    generator = torch.Generator().manual_seed(bench.options.seed)
    vocab = network(bench.model).get_output_embeddings().weight.shape[0]
    random = torch.randint(vocab, (len(samples),), generator=generator)
    return torch.stack([*answers(samples), random], dim=1)


def _forms(bench: Bench, label: str) -> Iterator[LinearForm]:
    """Linear forms of the samples' instructed runs, a few at a time."""
    weights, samples = weights_of(bench.model), bench.samples()
    for start in range(0, len(samples), FORMS_AT_ONCE):
        some = [sample.instructed for sample in samples[start : start + FORMS_AT_ONCE]]
        for i, form in enumerate(linear_forms(bench.model, some, weights=weights), start=start):
            bench.progress(
                f"{bench.checkpoint.name} {bench.task.name}: {label}, {i}/{len(samples)} samples"
            )
            yield form


def _arrays(found: Sequence[Traced]) -> dict[str, np.ndarray]:
    """What was traced of every sample, a row a sample, NaN after a prompt's last start."""
    most = max(len(one.starts) for one in found)

    def stacked(rows: list[np.ndarray]) -> np.ndarray:
        after = [[(0, most - len(row))] + [(0, 0)] * (row.ndim - 1) for row in rows]
        padded = [
            np.pad(row.astype(np.float64), pad, constant_values=np.nan)
            for row, pad in zip(rows, after, strict=True)
        ]
        return np.stack(padded)

    return {
        "totals": stacked([np.array(one.totals, dtype=np.float64) for one in found]),
        "examined": stacked([np.array(one.examined) for one in found]),
        "hits": stacked([one.hits for one in found]),
        "uses": stacked([one.uses for one in found]).astype(np.float32),
        "expected": stacked([one.expected for one in found]).astype(np.float32),
    }
