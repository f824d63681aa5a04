"""Source runs: the residual stream after every block at chosen positions."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.metrics import score
from ivmethods.model import as_ids, equal_lengths, kept, last_logits, residual, trace
from ivmethods.prompts import Sample, Source, same_shape

ROWS_AT_ONCE = 64


def record(
    model: TransformersModel, ids: tuple[int, ...], *, positions: list[int]
) -> Float[Tensor, "pos layer d_model"]:
    """Run one sequence and return its residual stream after each block at the given positions.

    Source: section 5.1, X^l at T_inst. Residuals of a causal model depend on no later token, so one
    run of the instruction serves all queries.
    """
    with torch.no_grad(), trace(model, as_ids([ids])):
        layers = save([kept(residual(block.output)[0, positions]) for block in model.blocks])
    return torch.stack(list(layers), dim=1)


def record_sources(
    model: TransformersModel,
    sources: list[Source],
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "stream sample d_model"]:
    """The residual stream of many source runs, each at its own position.

    Stream 0 is the layer-0 input: the embedding of the token that stands there. Stream l + 1 is the
    output of block l. progress: called with the number of sources that are done.
    """
    columns: list[Tensor] = [torch.empty(0)] * len(sources)
    done = 0
    for group in equal_lengths([source.ids for source in sources]):
        for start in range(0, len(group), ROWS_AT_ONCE):
            some = group[start : start + ROWS_AT_ONCE]
            ids, rows = as_ids([sources[i].ids for i in some]), list(range(len(some)))
            at = [sources[i].position for i in some]
            with torch.no_grad(), trace(model, ids):
                streams = save(
                    [kept(model.blocks[0].input[rows, at])]
                    + [kept(residual(block.output)[rows, at]) for block in model.blocks]
                )
            for i, column in zip(some, torch.stack(list(streams), dim=1).float(), strict=True):
                columns[i] = column
            done += len(some)
            progress(done)
    return torch.stack(columns, dim=1)


def record_sites(
    model: TransformersModel, samples: list[Sample]
) -> Float[Tensor, "sample layer d_model"]:
    """The target runs' own residuals at their patch sites: the source of the no-op control."""
    rows: list[Tensor] = [torch.empty(0)] * len(samples)
    for group in same_shape(samples):
        site, ids = samples[group[0]].site, as_ids([samples[i].target for i in group])
        with torch.no_grad(), trace(model, ids):
            layers = save([kept(residual(block.output)[:, site]) for block in model.blocks])
        for i, row in zip(group, torch.stack(list(layers), dim=1), strict=True):
            rows[i] = row
    return torch.stack(rows)


def run_scores(
    model: TransformersModel, samples: list[Sample], sequences: list[tuple[int, ...]]
) -> Float[Tensor, "metric sample"]:
    """Metrics of unpatched runs, one sequence a sample: its target run or its instructed run."""
    columns: list[Tensor] = [torch.empty(0)] * len(samples)
    for group in equal_lengths(sequences):
        ids = as_ids([sequences[i] for i in group])
        answer, contrast = answers([samples[i] for i in group])
        with torch.no_grad(), trace(model, ids):
            scores = save(kept(score(last_logits(model), answer, contrast)))
        for i, column in zip(group, scores.T, strict=True):
            columns[i] = column
    return torch.stack(columns, dim=1)


def answers(samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Answer and contrast tokens of the samples; -1 where there is no contrast token."""
    contrast = [-1 if sample.contrast is None else sample.contrast for sample in samples]
    return torch.tensor([sample.answer for sample in samples]), torch.tensor(contrast)
