"""Layer sweep: the effects of patching every tuple of layers, within a memory budget."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor

from ivmethods.model.handles import as_ids, layer_count
from ivmethods.model.memory import in_pieces, row_bytes
from ivmethods.model.metrics import METRICS, require_scores
from ivmethods.model.recording import answers
from ivmethods.prompts.protocols import Sample, same_shape

LayerTuple = tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """Effects of a sweep: metric(patched) - metric(target), per metric, sample and tuple.

    `tuples` are sorted by order, then by layer. `target` holds the metrics of the target runs.
    `degenerate` marks the tuples with a layer that cannot matter (the last block, where the patch
    site is not T_last): their effect is exactly that of their other layers.
    """

    tuples: tuple[LayerTuple, ...]
    effects: Float[Tensor, "metric sample tuple"]
    target: Float[Tensor, "metric sample"]
    degenerate: Bool[Tensor, " tuple"]

    def of(self, metric: str) -> Float[Tensor, "sample tuple"]:
        """Effects under one metric."""
        return self.effects[METRICS.index(metric)]


Rows = list[tuple[int, LayerTuple]]
_Piece = tuple[list[int], range]  # samples, and the first layers of their tuples


@dataclass(frozen=True)
class Batch:
    """Samples of one length and patch site, and the tuples that they are to be run under.

    `vectors` is what is written at `site` after each block, `answer` and `contrast` what is scored.
    The tuples have at most `order` of the first `active` blocks, the first of them in `layers`; the
    empty tuple is always among them. `writes`: instead of the vectors, in passes of the same shape,
    what the sample's own run has at the site in that very pass (`own`), or `nothing`.
    """

    ids: Int[Tensor, "sample pos"]
    site: int
    vectors: Float[Tensor, "sample layer d_model"]
    answer: Int[Tensor, " sample"]
    contrast: Int[Tensor, " sample"]
    layers: range
    order: int
    active: int
    writes: Literal["vectors", "own", "nothing"] = "vectors"


# Runs a batch under its tuples: (sample, tuple) of each row, and each row's metrics.
Runner = Callable[[TransformersModel, Batch], tuple[Rows, Float[Tensor, "metric row"]]]


def layer_tuples(n_layers: int, order: int) -> tuple[LayerTuple, ...]:
    """All tuples of 1 to `order` distinct layers in ascending order."""
    sizes = range(1, order + 1)
    return tuple(t for size in sizes for t in combinations(range(n_layers), size))


def sweep(
    model: TransformersModel,
    samples: list[Sample],
    vectors: Float[Tensor, "sample layer d_model"],
    *,
    order: int,
    memory_budget: int,
    runner: Runner,
    progress: Callable[[int], None] = lambda done: None,
) -> Sweep:
    """Measure the effect of every tuple of at most `order` layers on every sample.

    vectors: what is written at each sample's patch site after each block (the source residuals).
    memory_budget: bytes that one forward pass may take; samples are run in chunks that fit, and a
    sample that does not fit is split by the first layer of its tuples. Where memory runs out all
    the same, the chunks are halved.
    runner: how rows are run: `patching.fan_out`, or a slow one of `patching.reference`.

    Raises:
        MemoryError: not even the tuples of one first layer fit the memory budget, or the memory.
        NotFiniteError: an effect or a target run's metric is NaN or infinite.

    Source: section 5.1.
    """
    n_layers = layer_count(model)
    tuples = layer_tuples(n_layers, order)
    column = {t: i for i, t in enumerate(tuples)}
    scores = torch.full((len(METRICS), len(samples), len(tuples) + 1), torch.nan)
    inert = torch.zeros(len(samples), dtype=torch.bool)
    done = 0

    def run(piece: _Piece, active: int) -> None:
        nonlocal done
        chunk, layers = piece
        ids, site = as_ids([samples[i].target for i in chunk]), samples[chunk[0]].site
        answer, contrast = answers([samples[i] for i in chunk])
        batch = Batch(ids, site, vectors[chunk], answer, contrast, layers, order, active)
        rows, values = runner(model, batch)
        owners = torch.tensor([chunk[sample] for sample, _ in rows])
        columns = torch.tensor([column[t] if t else len(tuples) for _, t in rows])
        scores[:, owners, columns] = values
        if layers.stop == active:
            done += len(chunk)
            progress(done)

    for group in same_shape(samples):
        first = samples[group[0]]
        inert[group] = first.site != len(first.target) - 1
        active = n_layers - int(first.site != len(first.target) - 1)
        cost = row_bytes(model, len(first.target))
        counts = [_rows_from(layer, active, order) for layer in range(active)]
        rows = _rows_within(memory_budget, cost, counts, order)
        fitting = in_pieces(
            [(group, range(active))],
            rows,
            count=partial(_rows_of, counts),
            split=partial(_split, counts),
            run=partial(run, active=active),
        )
        if fitting < rows:
            memory_budget = fitting * cost
    target = scores[:, :, -1]
    effects = scores[:, :, :-1] - target[:, :, None]
    _fill_inert(effects, target, tuples, n_layers - 1, inert)
    contrast = answers(samples)[1]
    require_scores(target, contrast, "metrics of the target runs")
    require_scores(effects, contrast, "effects of patching")
    last = torch.tensor([t[-1] == n_layers - 1 for t in tuples])
    return Sweep(tuples, effects, target, last & bool(inert.all()))


def _rows_within(memory_budget: int, cost: int, counts: list[int], order: int) -> int:
    """Rows that the budget allows, if those of every first layer fit."""
    rows, least = max(1, memory_budget // cost), 1 + max(counts, default=0)
    if least > rows:
        raise MemoryError(
            f"memory_budget={rows} rows, but should be at least {least} rows "
            f"[sweep of order {order} over {len(counts)} layers]; "
            "raise --memory-budget or patch fewer layers at once"
        )
    return rows


def _rows_of(counts: list[int], piece: _Piece) -> int:
    chunk, layers = piece
    return len(chunk) * (1 + sum(counts[layer] for layer in layers))


def _split(counts: list[int], piece: _Piece, rows: int) -> list[_Piece]:
    """Pieces of at most `rows` rows: fewer samples, or one sample and fewer first layers."""
    chunk, layers = piece
    per_sample = 1 + sum(counts[layer] for layer in layers)
    if per_sample <= rows:
        size = rows // per_sample
        return [(chunk[start : start + size], layers) for start in range(0, len(chunk), size)]
    parts: list[range] = []
    for layer in layers:
        start = parts[-1].start if parts else layer
        if parts and 1 + sum(counts[start : layer + 1]) <= rows:
            parts[-1] = range(start, layer + 1)
        else:
            parts.append(range(layer, layer + 1))
    return [([sample], part) for sample in chunk for part in parts]


def _rows_from(first: int, active: int, order: int) -> int:
    later = active - first - 1
    return sum(1 for size in range(order) for _ in combinations(range(later), size))


def _fill_inert(
    effects: Float[Tensor, "metric sample tuple"],
    target: Float[Tensor, "metric sample"],
    tuples: tuple[LayerTuple, ...],
    last: int,
    inert: Bool[Tensor, " sample"],
) -> None:
    """Give tuples with the inert last block the effect of their other layers, in place."""
    column = {t: i for i, t in enumerate(tuples)}
    for index, t in enumerate(tuples):
        if t[-1] == last:
            nothing = (target - target)[:, inert]  # 0, but NaN where a metric has no value
            rest = effects[:, inert, column[t[:-1]]] if len(t) > 1 else nothing
            effects[:, inert, index] = rest
