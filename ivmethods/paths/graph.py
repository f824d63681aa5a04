"""The graph that paths run on: edges between token positions, layer by layer, and exact counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ivmethods.paths.linear_maps import LinearForm

Granularity = Literal["merged", "head"]
Semantics = Literal["equation", "released"]


@dataclass(frozen=True)
class Edges:
    """The edges through one block, ordered by source position.

    `source`, `target`: positions before and after the block. `stay`: whether the identity is part
    of the map. `heads`: the coefficient of every head's map in it. `uses`: the heads that a path
    along the edge is said to use.
    """

    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]
    stay: Bool[Tensor, " edge"]
    heads: Float[Tensor, "edge head"]
    uses: Bool[Tensor, "edge head"]


@dataclass(frozen=True)
class PathGraph:
    """Edges of every layer, without those that cannot reach T_last.

    `counts[l][i]`: number of paths from position i before block l to T_last after the last block,
    exact; l runs from 0 to the number of layers.
    """

    layers: tuple[Edges, ...]
    counts: tuple[tuple[int, ...], ...]

    def total(self, start: int) -> int:
        """Number of paths from an input token to T_last."""
        return self.counts[0][start]

    @cached_property
    def edges_from(self) -> tuple[tuple[Int[Tensor, " pos"], Int[Tensor, " pos"]], ...]:
        """Per layer, the first edge of every position and their number."""
        n = len(self.counts[0])
        degrees = [torch.bincount(edges.source, minlength=n) for edges in self.layers]
        return tuple((degree.cumsum(0) - degree, degree) for degree in degrees)

    def head_use(self, start: int) -> Float[np.ndarray, "layer head"]:
        """Share of all paths from a token that use each head, exact; NaN if there is no path."""
        n_heads = self.layers[0].uses.shape[1]
        if not self.total(start):
            return np.full((len(self.layers), n_heads), np.nan)
        arriving = [0] * len(self.counts[0])
        arriving[start] = 1
        shares = []
        for edges, counts in zip(self.layers, self.counts[1:], strict=True):
            ends = list(zip(edges.source.tolist(), edges.target.tolist(), strict=True))
            through = [arriving[i] * counts[j] / self.total(start) for i, j in ends]
            shares.append(np.array(through) @ edges.uses.cpu().numpy())
            before, arriving = arriving, [0] * len(counts)
            for i, j in ends:
                arriving[j] += before[i]
        return np.stack(shares)


def path_graph(
    form: LinearForm,
    *,
    k: int,
    granularity: Granularity = "merged",
    semantics: Semantics = "equation",
) -> PathGraph:
    """Edges and path counts of a prompt whose heads pass on from the k positions they attend to.

    An edge from j to i exists if i = j, or if j is among the k positions that some head attends to
    most from i (ties: the earlier position; a weight of exactly 0 is not attention). `merged`: one
    edge for all such heads. `head`: an edge a head, and one for the identity. `released`: every
    edge carries the identity and all heads, without their attention weights.

    Raises:
        ValueError: k is below 1, or `released` is asked for single heads, where it has no meaning.

    Source: section 6.1, "j = argmax a_i"; docs/design.md, "Path tracing".
    Deviation: the paper's text makes an edge of one head; `merged` follows its scripts, in which
    one path is one trajectory of tokens.
    """
    if k < 1:
        raise ValueError(f"k={k}, but should be at least 1 [path_graph]; attend to one position")
    if semantics == "released" and granularity == "head":
        raise ValueError(
            f"granularity={granularity!r}, but should be {get_args(Granularity)[0]!r} "
            "[released semantics]; its edges carry all heads at once"
        )
    attended = _most_attended(form.attention, k)
    layers = [
        _head_edges(a, top) if granularity == "head" else _merged_edges(a, top)
        for a, top in zip(form.attention, attended, strict=True)
    ]
    if semantics == "released":
        layers = [
            Edges(e.source, e.target, e.stay | True, torch.ones_like(e.heads), e.uses)
            for e in layers
        ]
    return _pruned(layers, form.attention.shape[-1])


def draw_paths(graph: PathGraph, start: int, *, count: int, seed: int) -> Int[Tensor, "path layer"]:
    """Paths drawn uniformly and independently from all paths of a token, as an edge a layer.

    A path is found from its number among all paths, counted off along the exact counts, so every
    path is equally probable however many there are.

    Raises:
        ValueError: there is no path from `start`.
    """
    if not graph.total(start):
        raise ValueError(f"paths=0, but should be at least 1 [draw_paths from {start}]: skip it")
    generator = np.random.default_rng(seed)
    ends = [edges.target.tolist() for edges in graph.layers]
    firsts = [(first.tolist(), degree.tolist()) for first, degree in graph.edges_from]
    rows = []
    for _ in range(count):
        number, position, row = _random_below(graph.total(start), generator), start, []
        for layer, target in enumerate(ends):
            edge = firsts[layer][0][position]
            while number >= graph.counts[layer + 1][target[edge]]:
                number -= graph.counts[layer + 1][target[edge]]
                edge += 1
            row.append(edge)
            position = target[edge]
        rows.append(row)
    return torch.tensor(rows, dtype=torch.int32).reshape(count, len(ends))


def _random_below(limit: int, generator: np.random.Generator) -> int:
    """A uniform integer in [0, limit), of any size."""
    bits = limit.bit_length()
    while True:
        number = int.from_bytes(generator.bytes(bits // 8 + 1), "little") & ((1 << bits) - 1)
        if number < limit:
            return number


def _most_attended(
    attention: Float[Tensor, "layer head pos pos"], k: int
) -> Bool[Tensor, "layer head pos pos"]:
    order = attention.argsort(dim=-1, descending=True, stable=True)[..., :k]
    top = torch.zeros_like(attention, dtype=torch.bool).scatter_(-1, order, True)
    return top & (attention > 0)


def _merged_edges(
    attention: Float[Tensor, "head pos pos"], top: Bool[Tensor, "head pos pos"]
) -> Edges:
    stays = torch.eye(attention.shape[-1], dtype=torch.bool, device=attention.device)
    source, target = (top.any(dim=0) | stays).T.nonzero(as_tuple=True)
    uses = top[:, target, source].T
    return Edges(source, target, source == target, attention[:, target, source].T * uses, uses)


def _head_edges(
    attention: Float[Tensor, "head pos pos"], top: Bool[Tensor, "head pos pos"]
) -> Edges:
    n_heads, n, _ = attention.shape
    stays = torch.eye(n, dtype=torch.bool, device=attention.device)
    # The last "head" is the identity.
    source, target, head = torch.cat([top, stays[None]]).permute(2, 1, 0).nonzero(as_tuple=True)
    uses = head[:, None] == torch.arange(n_heads, device=head.device)
    return Edges(source, target, head == n_heads, attention[:, target, source].T * uses, uses)


def _pruned(layers: Sequence[Edges], n: int) -> PathGraph:
    counts: list[tuple[int, ...]] = [(0,) * (n - 1) + (1,)]
    kept = []
    for edges in reversed(layers):
        after, before = counts[-1], [0] * n
        reachable = torch.tensor([count > 0 for count in after], device=edges.target.device)
        reaches = reachable[edges.target]
        for i, j in zip(edges.source.tolist(), edges.target.tolist(), strict=True):
            before[i] += after[j]
        counts.append(tuple(before))
        parts = (edges.source, edges.target, edges.stay, edges.heads, edges.uses)
        kept.append(Edges(*(part[reaches] for part in parts)))
    return PathGraph(tuple(reversed(kept)), tuple(reversed(counts)))
