"""One block of a linear form as a map of many vectors, each along an edge between two positions."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear

from ivmethods.model.layouts import Block
from ivmethods.paths.linear_maps import LinearForm, normed

_ROWS = 1024  # of an MLP's hidden layer that are held at once: it is wider than the vectors


def values(
    form: LinearForm,
    layer: int,
    vectors: Float[Tensor, "path d_model"],
    *,
    source: Int[Tensor, " path"],
) -> Float[Tensor, "path head d_head"]:
    """What each head reads from vectors that stand at position `source`: W_V^h N(x).

    The same on every edge from there, so it is to be computed once a vector, not once an edge.
    """
    value = form.weights.blocks[layer].value
    read = linear(normed(form, layer, "attn_in", vectors, source), value.flatten(0, 1))
    return read.unflatten(1, value.shape[:2])


def step(
    form: LinearForm,
    layer: int,
    vectors: Float[Tensor, "path d_model"],
    read: Float[Tensor, "path head d_head"],
    *,
    target: Int[Tensor, " path"],
    stay: Bool[Tensor, " path"],
    heads: Float[Tensor, "path head"],
) -> Float[Tensor, "path d_model"]:
    """What vectors become at position `target` through a block: the linear part, without biases.

    read: what the heads read from the vectors (`values`). stay: whether the identity belongs to the
    edge. heads: coefficient of each head, a_ij where the edge goes through it and else 0.

    Source: section 6, Eq. 3.
    """
    block = form.weights.blocks[layer]
    attended = linear((read * heads[..., None]).flatten(1), block.out.transpose(0, 1).flatten(1))
    attended = normed(form, layer, "attn_out", attended, target)
    stayed = vectors * stay[:, None]
    if block.parallel:
        return _through_mlp(form, layer, stayed, target) + attended
    return _through_mlp(form, layer, stayed + attended, target)


def fold(
    form: LinearForm,
    layer: int,
    *,
    source: int,
    target: int,
    stay: bool,
    heads: Float[Tensor, " head"],
) -> Float[Tensor, "d_model d_model"]:
    """The matrix M of one edge: `vectors @ M.T` is `step` of the vectors' `values`."""
    rows = form.embedding.shape[1]
    basis = torch.eye(rows, device=form.embedding.device)
    start = torch.full((rows,), source, device=basis.device)
    return step(
        form,
        layer,
        basis,
        values(form, layer, basis, source=start),
        target=torch.full_like(start, target),
        stay=torch.full_like(start, stay, dtype=torch.bool),
        heads=heads.expand(rows, -1),
    ).T


def mlp_break_even(block: Block) -> float:
    """Rows at a position above which one matrix for its MLP takes fewer multiplications."""
    d_model, factors = len(block.down), block.up.numel() + block.down.numel()
    saved = factors - d_model**2
    return d_model * factors / saved if saved > 0 else torch.inf


def _through_mlp(form: LinearForm, layer: int, vectors: Tensor, target: Tensor) -> Tensor:
    """Vectors plus what the MLP makes of them, folded at positions where many of them stand."""
    block = form.weights.blocks[layer]
    crowded = target.bincount(minlength=len(form.embedding)) > mlp_break_even(block)
    result = torch.empty_like(vectors)
    for position in crowded.nonzero()[:, 0]:
        basis = torch.eye(len(block.down), device=vectors.device)
        folded = _with_mlp(form, layer, basis, position.expand(len(basis)))
        rows = target == position
        result[rows] = vectors[rows] @ folded
    rows = ~crowded[target]
    result[rows] = _with_mlp(form, layer, vectors[rows], target[rows])
    return result


def _with_mlp(form: LinearForm, layer: int, vectors: Tensor, target: Tensor) -> Tensor:
    block, gate = form.weights.blocks[layer], form.gate[layer]
    parts = []
    for part, at in zip(vectors.split(_ROWS), target.split(_ROWS), strict=True):
        hidden = linear(normed(form, layer, "mlp_in", part, at), block.up) * gate[at]
        parts.append(part + normed(form, layer, "mlp_out", linear(hidden, block.down), at))
    return torch.cat(parts)
