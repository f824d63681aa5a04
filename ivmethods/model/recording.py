"""Source runs: the residual stream after every block at chosen positions."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model.handles import as_ids, kept, last_logits, residual, trace
from ivmethods.model.memory import in_batches
from ivmethods.model.metrics import METRICS, require_finite, require_scores, score
from ivmethods.prompts.protocols import Sample, Source


def record(
    model: TransformersModel, ids: tuple[int, ...], *, positions: list[int]
) -> Float[Tensor, "pos layer d_model"]:
    """Run one sequence and return its residual stream after each block at the given positions.

    Raises: NotFiniteError.
    Source: section 5.1, X^l at T_inst. Residuals of a causal model depend on no later token, so one
    run of the instruction serves all queries.
    """
    with torch.no_grad(), trace(model, as_ids([ids])):
        layers = save([kept(residual(block.output)[0, positions]) for block in model.blocks])
        model.unembed.input = model.unembed.input[:, -1:]  # no logits of every position
    residuals = torch.stack(list(layers), dim=1)
    require_finite(residuals, "residuals of the source run", "positions")
    return residuals


def record_sources(
    model: TransformersModel,
    sources: list[Source],
    *,
    memory_budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "stream sample d_model"]:
    """The residual stream of many source runs, each at its own position.

    Stream 0 is the layer-0 input: the embedding of the token that stands there. Stream l + 1 is the
    output of block l. progress: called with the number of sources that are done.

    Raises: NotFiniteError, MemoryError.
    """
    ids, positions = [s.ids for s in sources], [s.position for s in sources]
    streams = _streams(model, ids, positions, memory_budget=memory_budget, progress=progress)
    return streams.float().transpose(0, 1).contiguous()


def record_sites(
    model: TransformersModel, samples: list[Sample], *, memory_budget: int
) -> Float[Tensor, "sample layer d_model"]:
    """The target runs' own residuals at their patch sites, in the model's dtype.

    Raises: NotFiniteError, MemoryError.
    """
    ids, sites = [s.target for s in samples], [s.site for s in samples]
    return _streams(model, ids, sites, memory_budget=memory_budget)[:, 1:]


def run_scores(
    model: TransformersModel,
    samples: list[Sample],
    sequences: list[tuple[int, ...]],
    *,
    memory_budget: int,
) -> Float[Tensor, "metric sample"]:
    """Metrics of unpatched runs, one sequence a sample: its target run or its instructed run.

    Raises: NotFiniteError, MemoryError.
    """
    scores = torch.full((len(METRICS), len(samples)), torch.nan)

    def run(some: list[int]) -> None:
        ids = as_ids([sequences[i] for i in some])
        answer, contrast = answers([samples[i] for i in some])
        with torch.no_grad(), trace(model, ids):
            values = save(kept(score(last_logits(model), answer, contrast)))
        scores[:, some] = values

    in_batches(model, sequences, memory_budget=memory_budget, run=run)
    require_scores(scores, answers(samples)[1], "metrics of unpatched runs")
    return scores


def _streams(
    model: TransformersModel,
    sequences: list[tuple[int, ...]],
    positions: list[int],
    *,
    memory_budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "sample stream d_model"]:
    """The layer-0 input and the output of every block, at a position of each sequence."""
    columns: dict[int, Tensor] = {}

    def run(some: list[int]) -> None:
        rows, at = list(range(len(some))), [positions[i] for i in some]
        with torch.no_grad(), trace(model, as_ids([sequences[i] for i in some])):
            streams = save(
                [kept(model.blocks[0].input[rows, at])]
                + [kept(residual(block.output)[rows, at]) for block in model.blocks]
            )
            model.unembed.input = model.unembed.input[:, -1:]
        columns.update(zip(some, torch.stack(list(streams), dim=1), strict=True))
        progress(len(columns))

    in_batches(model, sequences, memory_budget=memory_budget, run=run)
    residuals = torch.stack([columns[i] for i in range(len(sequences))])
    require_finite(residuals, "residuals", "runs")
    return residuals


def answers(samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Answer and contrast tokens of the samples; -1 where there is no contrast token."""
    contrast = [-1 if sample.contrast is None else sample.contrast for sample in samples]
    return torch.tensor([sample.answer for sample in samples]), torch.tensor(contrast)
