"""Slow, obvious ways to run a sweep: the oracles of the fan-out, and its fallback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model import inputs, last_logits, layer_count, network, residual, with_residual
from ivmethods.sweep import Batch, LayerTuple, Rows, layer_tuples


def batched(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """The plain batched sweep: every tuple is a row of its own from the first block on.

    Runs where a batch cannot grow inside the model (ALiBi tensors folded with heads).
    """
    rows = _rows(batch)
    owners = [sample for sample, _ in rows]
    mask = torch.tensor([[layer in t for layer in range(layer_count(model))] for _, t in rows])
    ids, vectors = batch.ids[owners], batch.vectors[owners]
    return rows, patched_logits(model, ids, batch.site, vectors, mask)


def one_by_one(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """The reference: one run per sample and tuple, through nnsight."""
    rows = _rows(batch)
    logits = []
    for sample, t in rows:
        mask = torch.tensor([[layer in t for layer in range(layer_count(model))]])
        ids, vectors = batch.ids[[sample]], batch.vectors[[sample]]
        logits.append(patched_logits(model, ids, batch.site, vectors, mask))
    return rows, torch.cat(logits)


def by_hooks(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """One run per sample and tuple with plain PyTorch hooks: what nnsight itself is checked by."""
    rows = _rows(batch)
    logits = []
    for sample, t in rows:
        with torch.no_grad(), patched(model, t, batch.site, batch.vectors[sample]):
            row = inputs(model, batch.ids[[sample]])
            logits.append(network(model)(**row, use_cache=False).logits[:, -1])
    return rows, torch.cat(logits)


def patched_logits(
    model: TransformersModel,
    ids: Int[Tensor, "row pos"],
    site: int,
    vectors: Float[Tensor, "row layer d_model"],
    mask: Bool[Tensor, "row layer"],
) -> Float[Tensor, "row vocab"]:
    """Logits at T_last of rows that are patched at `site` after the blocks marked in `mask`."""
    with torch.no_grad(), model.trace(inputs(model, ids), use_cache=False):
        for layer in range(layer_count(model)):
            rows = mask[:, layer]
            if rows.any():
                output = model.blocks[layer].output
                hidden = residual(output).clone()
                hidden[rows, site] = vectors[rows, layer].to(hidden)
                model.blocks[layer].output = with_residual(output, hidden)
        logits = save(last_logits(model))
    return logits


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


def _rows(batch: Batch) -> Rows:
    tuples = [t for t in layer_tuples(batch.active, batch.order) if t[0] in batch.layers]
    return [(sample, t) for sample in range(len(batch.ids)) for t in [(), *tuples]]
