"""Fan-out: all tuples of layers in one forward pass whose batch grows."""

from dataclasses import replace

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model.handles import kept, last_logits, residual, trace, with_residual
from ivmethods.model.metrics import score
from ivmethods.patching.sweep import Batch, LayerTuple, Rows


def fan_out(model: TransformersModel, batch: Batch) -> tuple[Rows, Float[Tensor, "metric row"]]:
    """Run every tuple in one forward pass whose batch grows (a `Runner`).

    After block l, every row that may still take a layer is copied and the copy is patched at l, so
    tuples with a common prefix share its computation. Rows that patch nothing come along. They are
    scored inside the trace: the logits of a whole sweep are more than a network should carry.

    Source: section 5.1. Deviation: one growing forward pass instead of one run a tuple; the logits
    are the same to float error.
    """
    rows: Rows = [(sample, ()) for sample in range(len(batch.ids))]
    births: list[tuple[list[int], list[int]]] = []
    for layer in range(batch.active):
        parents = [r for r, (_, t) in enumerate(rows) if _may_take(t, layer, batch)]
        births.append((parents, [rows[parent][0] for parent in parents]))
        rows += [(rows[parent][0], (*rows[parent][1], layer)) for parent in parents]
    owners = [sample for sample, _ in rows]
    site, vectors, writes = batch.site, batch.vectors, batch.writes
    answer, contrast = batch.answer[owners], batch.contrast[owners]
    with torch.no_grad(), trace(model, batch.ids):
        for layer, (parents, written) in enumerate(births):
            if parents:
                output = model.blocks[layer].output
                hidden = residual(output)
                copies = hidden[parents]
                if writes != "nothing":
                    own = writes == "own"  # the first rows are the samples' own runs
                    values = kept(hidden[written, site]) if own else vectors[written, layer]
                    copies[:, site] = values.to(copies)
                model.blocks[layer].output = with_residual(output, torch.cat([hidden, copies]))
        scores = save(kept(score(last_logits(model), answer, contrast)))
    return rows, scores


def fan_out_each(
    model: TransformersModel, batch: Batch
) -> tuple[Rows, Float[Tensor, "metric row"]]:
    """Fan-out with one sample a forward pass (a `Runner`).

    Eager attention makes a mask of the batch's size, which only broadcasts from one sample.
    """
    rows: Rows = []
    scores = []
    for sample in range(len(batch.ids)):
        one = slice(sample, sample + 1)
        alone = replace(
            batch,
            ids=batch.ids[one],
            vectors=batch.vectors[one],
            answer=batch.answer[one],
            contrast=batch.contrast[one],
        )
        own, values = fan_out(model, alone)
        rows += [(sample, t) for _, t in own]
        scores.append(values)
    return rows, torch.cat(scores, dim=1)


def _may_take(t: LayerTuple, layer: int, batch: Batch) -> bool:
    return len(t) < batch.order if t else layer in batch.layers
