"""Paths of token positions through the layers, and how high each ranks the answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivmethods.model.memory import within
from ivmethods.model.ranks import HIGH_RANK, high_ranking
from ivmethods.paths.graph import PathGraph, draw_paths
from ivmethods.paths.linear_blocks import step, values
from ivmethods.paths.linear_maps import LinearForm, read_out
from ivmethods.statistics.univariate import ALPHA, Interval, clopper_pearson

DRAWS = 2_000
STRONGEST = 10
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class StrongPath:
    """A path that ranks the answer high: its positions, embedding first, and the answer's logit."""

    positions: tuple[int, ...]
    logit: float


@dataclass(frozen=True)
class Traced:
    """What the paths of some input tokens come to.

    `totals`: number of a token's paths, exact. `examined`: how many of them were followed; fewer
    where they were drawn. `hits`: how many of those rank each answer high. `uses`: share of the
    examined paths with a high-ranking first answer that use each head; NaN if there is none.
    `expected`: the same share of all paths. `strongest`: at most ten of all high-ranking paths
    that were examined, largest logit of the first answer first.
    """

    starts: tuple[int, ...]
    totals: tuple[int, ...]
    examined: tuple[int, ...]
    hits: Int[np.ndarray, "start answer"]
    uses: Float[np.ndarray, "start layer head"]
    expected: Float[np.ndarray, "start layer head"]
    strongest: tuple[StrongPath, ...]


@dataclass(frozen=True)
class Wave:
    """Paths that have come equally far.

    `vectors`: their contributions. `start`, `position`: where they began and where they are.
    `edges`: the edge that each took in every layer so far.
    """

    vectors: Float[Tensor, "path d_model"]
    start: Int[Tensor, " path"]
    position: Int[Tensor, " path"]
    edges: Int[Tensor, "path layer"]

    def __getitem__(self, rows: slice | Tensor) -> "Wave":
        return Wave(self.vectors[rows], self.start[rows], self.position[rows], self.edges[rows])


def trace_paths(
    form: LinearForm,
    graph: PathGraph,
    starts: Sequence[int],
    answers: Int[Tensor, " answer"],
    *,
    below: int = HIGH_RANK,
    max_paths: int = 2_000_000,
    seed: int = 0,
    memory_budget: int,
) -> Traced:
    """How many of each input token's paths rank the answers high, and which heads these use.

    Every path is followed where a token has at most `max_paths` (or 2,000); else 2,000 of them
    are, drawn uniformly. memory_budget: bytes of the vectors that are held at once, halved where
    memory runs out.

    Raises: NotFiniteError, the logit of a path; MemoryError.
    Source: section 6.1; a path's contribution is W_U P E T_i.
    """
    options = {"below": below, "max_paths": max_paths, "seed": seed}
    return within(
        memory_budget,
        lambda budget: _traced(form, graph, starts, answers, **options, memory_budget=budget),
    )


def high_ranking_paths(total: int, examined: int, hits: int) -> Interval:
    """Number of a token's high-ranking paths, between exact 95 % bounds if its paths were drawn."""
    if examined == total:
        return Interval(float(hits), float(hits), float(hits), examined)
    share = clopper_pearson(np.arange(examined) < hits, alpha=ALPHA / 2)
    return Interval(total * share.estimate, total * share.low, total * share.high, examined)


def every_path(
    form: LinearForm, graph: PathGraph, starts: Sequence[int], *, memory_budget: int
) -> Iterator[Wave]:
    """All paths of input tokens with their contributions, in waves that fit in memory.

    Paths share the computation of their common beginnings: a wave takes one layer after the other
    and is halved where its continuations would not fit.
    """
    pending = [(_roots(form, [start for start in starts if graph.total(start)]), 0)]
    while pending:
        wave, layer = pending.pop()
        if layer == len(graph.layers):
            yield wave
            continue
        first, degree = (part[wave.position] for part in graph.edges_from[layer])
        held = sum(other.vectors.nbytes for other, _ in pending)
        if len(degree) > 1 and _nbytes(form, int(degree.sum())) > memory_budget - held:
            half = len(degree) // 2
            pending += [(wave[half:], layer), (wave[:half], layer)]
            continue
        every = torch.arange(int(degree.sum()), device=degree.device)
        parent = torch.arange(len(degree), device=degree.device).repeat_interleave(degree)
        nth = every - (degree.cumsum(0) - degree)[parent]
        pending.append((_advance(form, graph, layer, wave, parent, first[parent] + nth), layer + 1))


def drawn_paths(
    form: LinearForm, graph: PathGraph, start: int, *, count: int, seed: int
) -> Iterator[Wave]:
    """Paths drawn uniformly from all paths of an input token, with their contributions.

    Paths that were drawn with a common beginning share its computation.
    """
    wave = _roots(form, [start])
    drawn = draw_paths(graph, start, count=count, seed=seed).to(wave.start)
    row = torch.zeros_like(drawn[:, 0])  # where each path is in the wave
    for layer in range(len(graph.layers)):
        steps, row = torch.stack([row, drawn[:, layer]]).unique(dim=1, return_inverse=True)
        wave = _advance(form, graph, layer, wave, *steps)
    yield wave[row]


def _traced(
    form: LinearForm,
    graph: PathGraph,
    starts: Sequence[int],
    answers: Int[Tensor, " answer"],
    *,
    below: int,
    max_paths: int,
    seed: int,
    memory_budget: int,
) -> Traced:
    many = [start for start in starts if graph.total(start) > max(max_paths, DRAWS)]
    few = [start for start in starts if start not in many]
    waves = chain(
        every_path(form, graph, few, memory_budget=memory_budget),
        *(drawn_paths(form, graph, start, count=DRAWS, seed=seed) for start in many),
    )
    hits = np.zeros((form.embedding.shape[0], len(answers)), dtype=np.int64)
    taken = [
        torch.zeros(len(hits), len(edges.source), dtype=torch.float64, device=edges.source.device)
        for edges in graph.layers
    ]
    strongest: list[StrongPath] = []
    for wave in waves:
        vectors = read_out(form, wave.vectors)
        high = high_ranking(vectors, form.weights.unembed, answers, below=below)
        for column in range(len(answers)):
            starting = wave.start[high[:, column]].bincount(minlength=len(hits))
            hits[:, column] += starting.cpu().numpy()
        kept = wave[high[:, 0]]
        for layer, counts in enumerate(taken):
            ones = torch.ones_like(kept.start, dtype=torch.float64)
            counts.index_put_((kept.start, kept.edges[:, layer]), ones, accumulate=True)
        logits = vectors[high[:, 0]] @ form.weights.unembed[answers[0]]
        strongest = _strongest(graph, kept, logits, strongest)
    return Traced(
        starts=tuple(starts),
        totals=tuple(graph.total(start) for start in starts),
        examined=tuple(DRAWS if start in many else graph.total(start) for start in starts),
        hits=hits[list(starts)],
        uses=_uses(graph, taken, hits[:, 0])[list(starts)],
        expected=np.stack([graph.head_use(start) for start in starts]),
        strongest=tuple(strongest),
    )


def _roots(form: LinearForm, starts: Sequence[int]) -> Wave:
    at = torch.tensor(starts, dtype=torch.long, device=form.embedding.device)
    return Wave(form.embedding[at], at, at, at.new_zeros(len(at), 0))


def _advance(
    form: LinearForm,
    graph: PathGraph,
    layer: int,
    wave: Wave,
    parent: Int[Tensor, " path"],
    edge: Int[Tensor, " path"],
) -> Wave:
    """The wave after a block: path n goes on from row `parent[n]` along `edge[n]`."""
    edges = graph.layers[layer]
    target = edges.target[edge]
    read = values(form, layer, wave.vectors, source=wave.position)
    vectors = wave.vectors.new_empty(len(edge), wave.vectors.shape[1])
    # Blocks of rows stay in the cache; rows of one position together let `step` fold its MLP.
    for rows in target.argsort(stable=True).split(_ROWS_AT_ONCE):
        vectors[rows] = step(
            form,
            layer,
            wave.vectors[parent[rows]],
            read[parent[rows]],
            target=target[rows],
            stay=edges.stay[edge[rows]],
            heads=edges.heads[edge[rows]],
        )
    trail = torch.cat([wave.edges[parent], edge[:, None]], dim=1)
    return Wave(vectors, wave.start[parent], target, trail)


def _uses(
    graph: PathGraph, taken: Sequence[Float[Tensor, "pos _"]], hits: Int[np.ndarray, " pos"]
) -> Float[np.ndarray, "pos layer head"]:
    """Share of the high-ranking paths of every start that use each head."""
    through = [
        counts @ edges.uses.double() for counts, edges in zip(taken, graph.layers, strict=True)
    ]
    used = torch.stack(through, dim=1).cpu().numpy()
    return np.where(hits[:, None, None] > 0, used / np.maximum(hits, 1)[:, None, None], np.nan)


def _strongest(
    graph: PathGraph,
    wave: Wave,
    logits: Float[Tensor, " path"],
    others: Sequence[StrongPath],
) -> list[StrongPath]:
    """The ten paths of the wave and of the others with the largest logits."""
    rows = logits.topk(min(STRONGEST, len(logits))).indices
    targets = [edges.target[wave.edges[rows, layer]] for layer, edges in enumerate(graph.layers)]
    positions = torch.stack([wave.start[rows], *targets], dim=1).tolist()
    found = [
        StrongPath(tuple(path), logit)
        for path, logit in zip(positions, logits[rows].tolist(), strict=True)
    ]
    return sorted([*others, *found], key=lambda path: -path.logit)[:STRONGEST]


def _nbytes(form: LinearForm, rows: int) -> int:
    """Bytes of a step to so many paths: vectors before and after, values, and the trail."""
    per_row = 4 * form.embedding.shape[1] * form.embedding.element_size() + 8 * len(form.attention)
    return rows * per_row
