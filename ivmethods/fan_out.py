"""Fan-out: all tuples of layers in one forward pass whose batch grows."""

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model import inputs, last_logits, residual, with_residual
from ivmethods.sweep import LayerTuple, Rows


def fan_out(
    model: TransformersModel,
    ids: Int[Tensor, "sample pos"],
    site: int,
    vectors: Float[Tensor, "sample layer d_model"],
    *,
    layers: range,
    order: int,
    active: int,
) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """Run every tuple in one forward pass whose batch grows (a `Runner`).

    After block l, every row that may still take a layer is copied and the copy is patched at l, so
    tuples with a common prefix share its computation. Rows that patch nothing come along.

    Source: section 5.1. Deviation: one growing forward pass instead of one run a tuple; the logits
    are the same to float error.
    """
    rows: Rows = [(sample, ()) for sample in range(len(ids))]
    births: list[tuple[list[int], list[int]]] = []
    for layer in range(active):
        parents = [r for r, (_, t) in enumerate(rows) if _may_take(t, layer, layers, order)]
        births.append((parents, [rows[parent][0] for parent in parents]))
        rows += [(rows[parent][0], (*rows[parent][1], layer)) for parent in parents]
    with torch.no_grad(), model.trace(inputs(model, ids), use_cache=False):
        for layer, (parents, owners) in enumerate(births):
            if parents:
                output = model.blocks[layer].output
                hidden = residual(output)
                copies = hidden[parents]
                copies[:, site] = vectors[owners, layer].to(copies)
                model.blocks[layer].output = with_residual(output, torch.cat([hidden, copies]))
        logits = save(last_logits(model))
    return rows, logits


def fan_out_each(
    model: TransformersModel,
    ids: Int[Tensor, "sample pos"],
    site: int,
    vectors: Float[Tensor, "sample layer d_model"],
    *,
    layers: range,
    order: int,
    active: int,
) -> tuple[Rows, Float[Tensor, "row vocab"]]:
    """Fan-out with one sample a forward pass (a `Runner`).

    Eager attention makes a mask of the batch's size, which only broadcasts from one sample.
    """
    rows: Rows = []
    logits = []
    for sample in range(len(ids)):
        one = slice(sample, sample + 1)
        own, values = fan_out(
            model, ids[one], site, vectors[one], layers=layers, order=order, active=active
        )
        rows += [(sample, t) for _, t in own]
        logits.append(values)
    return rows, torch.cat(logits)


def _may_take(t: LayerTuple, layer: int, layers: range, order: int) -> bool:
    return layer in layers if not t else len(t) < order
