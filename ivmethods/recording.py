"""Source runs: the residual stream after every block at chosen positions."""

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.metrics import score
from ivmethods.model import as_ids, equal_lengths, inputs, last_logits, residual
from ivmethods.prompts import Sample, same_shape


def record(
    model: TransformersModel, ids: tuple[int, ...], *, positions: list[int]
) -> Float[Tensor, "pos layer d_model"]:
    """Run one sequence and return its residual stream after each block at the given positions.

    Source: section 5.1, X^l at T_inst. Residuals of a causal model depend on no later token, so one
    run of the instruction serves all queries.
    """
    with torch.no_grad(), model.trace(inputs(model, as_ids([ids])), use_cache=False):
        layers = save([residual(block.output)[0, positions] for block in model.blocks])
    return torch.stack(list(layers), dim=1)


def record_sites(
    model: TransformersModel, samples: list[Sample]
) -> Float[Tensor, "sample layer d_model"]:
    """The target runs' own residuals at their patch sites: the source of the no-op control."""
    rows: list[Tensor] = [torch.empty(0)] * len(samples)
    for group in same_shape(samples):
        site, ids = samples[group[0]].site, as_ids([samples[i].target for i in group])
        with torch.no_grad(), model.trace(inputs(model, ids), use_cache=False):
            layers = save([residual(block.output)[:, site] for block in model.blocks])
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
        with torch.no_grad(), model.trace(inputs(model, ids), use_cache=False):
            logits = save(last_logits(model))
        for i, column in zip(
            group, score(logits, *answers([samples[i] for i in group])).T, strict=True
        ):
            columns[i] = column.cpu()
    return torch.stack(columns, dim=1)


def answers(samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Answer and contrast tokens of the samples; -1 where there is no contrast token."""
    contrast = [-1 if sample.contrast is None else sample.contrast for sample in samples]
    return torch.tensor([sample.answer for sample in samples]), torch.tensor(contrast)
