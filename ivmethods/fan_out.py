"""Fan-out: all tuples of layers in one forward pass whose batch grows."""

from dataclasses import replace

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model import inputs, last_logits, residual, with_residual
from ivmethods.sweep import Batch, LayerTuple, Rows


def fan_out(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """Run every tuple in one forward pass whose batch grows (a `Runner`).

    After block l, every row that may still take a layer is copied and the copy is patched at l, so
    tuples with a common prefix share its computation. Rows that patch nothing come along.

    Source: section 5.1. Deviation: one growing forward pass instead of one run a tuple; the logits
    are the same to float error.
    """
    rows: Rows = [(sample, ()) for sample in range(len(batch.ids))]
    births: list[tuple[list[int], list[int]]] = []
    for layer in range(batch.active):
        parents = [r for r, (_, t) in enumerate(rows) if _may_take(t, layer, batch)]
        births.append((parents, [rows[parent][0] for parent in parents]))
        rows += [(rows[parent][0], (*rows[parent][1], layer)) for parent in parents]
    with torch.no_grad(), model.trace(inputs(model, batch.ids), use_cache=False):
        for layer, (parents, owners) in enumerate(births):
            if parents:
                output = model.blocks[layer].output
                hidden = residual(output)
                copies = hidden[parents]
                copies[:, batch.site] = batch.vectors[owners, layer].to(copies)
                model.blocks[layer].output = with_residual(output, torch.cat([hidden, copies]))
        logits = save(last_logits(model))
    return rows, logits


def fan_out_each(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """Fan-out with one sample a forward pass (a `Runner`).

    Eager attention makes a mask of the batch's size, which only broadcasts from one sample.
    """
    rows: Rows = []
    logits = []
    for sample in range(len(batch.ids)):
        one = slice(sample, sample + 1)
        alone = replace(batch, ids=batch.ids[one], vectors=batch.vectors[one])
        own, values = fan_out(model, alone)
        rows += [(sample, t) for _, t in own]
        logits.append(values)
    return rows, torch.cat(logits)


def _may_take(t: LayerTuple, layer: int, batch: Batch) -> bool:
    return len(t) < batch.order if t else layer in batch.layers
