"""Slow, obvious ways to run a sweep: the oracles of the fan-out, and its fallback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model.handles import (
    kept,
    last_logits,
    last_logits_outside,
    layer_count,
    residual,
    trace,
    with_residual,
)
from ivmethods.model.metrics import score
from ivmethods.patching.sweep import Batch, LayerTuple, Rows, layer_tuples


def batched(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "metric row"]]:
    """The plain batched sweep: every tuple is a row of its own from the first block on.

    Runs where a batch cannot grow inside the model (ALiBi tensors folded with heads).
    """
    rows = _rows(batch)
    owners = [sample for sample, _ in rows]
    mask = torch.tensor([[layer in t for layer in range(layer_count(model))] for _, t in rows])
    return rows, _patched(model, batch, owners, mask)


def one_by_one(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "metric row"]]:
    """The reference: one run per sample and tuple, through nnsight."""
    rows = _rows(batch)
    scores = []
    for sample, t in rows:
        mask = torch.tensor([[layer in t for layer in range(layer_count(model))]])
        scores.append(_patched(model, batch, [sample], mask))
    return rows, torch.cat(scores, dim=1)


def by_hooks(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "metric row"]]:
    """One run per sample and tuple with plain PyTorch hooks: what nnsight itself is checked by."""
    rows = _rows(batch)
    scores = []
    for sample, t in rows:
        with torch.no_grad(), patched(model, t, batch.site, batch.vectors[sample]):
            logits = kept(last_logits_outside(model, batch.ids[[sample]]))
        scores.append(score(logits, batch.answer[[sample]], batch.contrast[[sample]]))
    return rows, torch.cat(scores, dim=1)


def patched_scores(
    model: TransformersModel,
    ids: Int[Tensor, "row pos"],
    site: int,
    vectors: Float[Tensor, "row layer d_model"] | None,
    mask: Bool[Tensor, "row layer"],
    answer: Int[Tensor, " row"],
    contrast: Int[Tensor, " row"],
) -> Float[Tensor, "metric row"]:
    """Metrics of rows that are patched at `site` after the blocks marked in `mask`.

    vectors: what is written; None: what each row has there itself.
    """
    with torch.no_grad(), trace(model, ids):
        for layer, block in enumerate(model.blocks):
            rows = mask[:, layer]
            if rows.any():
                output = block.output
                hidden = residual(output).clone()
                own = kept(hidden[rows, site])
                values = own if vectors is None else vectors[rows, layer]
                hidden[rows, site] = values.to(hidden)
                block.output = with_residual(output, hidden)
        scores = save(kept(score(last_logits(model), answer, contrast)))
    return scores


@contextmanager
def patched(
    model: TransformersModel, layers: LayerTuple, site: int, vectors: Float[Tensor, "layer d_model"]
) -> Iterator[None]:
    """Patch the model at `site` after the given blocks by hooks, which leaving removes."""

    def hook_for(layer: int) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            hidden = residual(output).clone()
            hidden[:, site] = vectors[layer].to(hidden)
            return with_residual(output, hidden)

        return hook

    handles = [
        model.blocks[layer]._module.register_forward_hook(hook_for(layer)) for layer in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _patched(
    model: TransformersModel, batch: Batch, owners: list[int], mask: Bool[Tensor, "row layer"]
) -> Float[Tensor, "metric row"]:
    vectors = None if batch.writes == "own" else batch.vectors[owners]
    rows = (batch.ids[owners], batch.site, vectors, mask & (batch.writes != "nothing"))
    return patched_scores(model, *rows, batch.answer[owners], batch.contrast[owners])


def _rows(batch: Batch) -> Rows:
    tuples = [t for t in layer_tuples(batch.active, batch.order) if t[0] in batch.layers]
    return [(sample, t) for sample in range(len(batch.ids)) for t in [(), *tuples]]
