"""Layer sweep: the effects of patching every tuple of layers, within a memory budget."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor

from ivmethods.metrics import METRICS, score
from ivmethods.model import as_ids, layer_count
from ivmethods.prompts import Sample, same_shape
from ivmethods.recording import answers

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


@dataclass(frozen=True)
class Batch:
    """Samples of one length and patch site, and the tuples that they are to be run under.

    `vectors` is what is written at `site` after each block. The tuples have at most `order` of the
    first `active` blocks, the first of them in `layers`; the empty tuple is always among them.
    """

    ids: Int[Tensor, "sample pos"]
    site: int
    vectors: Float[Tensor, "sample layer d_model"]
    layers: range
    order: int
    active: int


# Runs a batch under its tuples: (sample, tuple) of each row, and each row's logits at T_last.
Runner = Callable[[TransformersModel, Batch], tuple[Rows, Float[Tensor, "row vocab"]]]


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
    sample that does not fit is split by the first layer of its tuples.
    runner: how rows are run: `ivmethods.fan_out`, or a slow one of `ivmethods.reference`.

    Raises:
        ValueError: not even the tuples of one first layer fit the memory budget.

    Source: section 5.1.
    """
    n_layers = layer_count(model)
    tuples = layer_tuples(n_layers, order)
    column = {t: i for i, t in enumerate(tuples)}
    scores = torch.full((len(METRICS), len(samples), len(tuples) + 1), torch.nan)
    inert = torch.zeros(len(samples), dtype=torch.bool)
    done = 0
    for group in same_shape(samples):
        first = samples[group[0]]
        inert[group] = first.site != len(first.target) - 1
        active = n_layers - int(first.site != len(first.target) - 1)
        cost = row_bytes(model, len(first.target))
        for chunk, layers in _chunks(group, active, order, max(1, memory_budget // cost)):
            ids = as_ids([samples[i].target for i in chunk])
            batch = Batch(ids, first.site, vectors[chunk], layers, order, active)
            rows, logits = runner(model, batch)
            owners = torch.tensor([chunk[sample] for sample, _ in rows])
            columns = torch.tensor([column[t] if t else len(tuples) for _, t in rows])
            answer, contrast = answers([samples[chunk[sample]] for sample, _ in rows])
            values = score(logits, answer.to(logits.device), contrast.to(logits.device))
            scores[:, owners, columns] = values.cpu()
            if layers.stop == active:
                done += len(chunk)
                progress(done)
    target = scores[:, :, -1]
    effects = scores[:, :, :-1] - target[:, :, None]
    _fill_inert(effects, target, tuples, n_layers - 1, inert)
    last = torch.tensor([t[-1] == n_layers - 1 for t in tuples])
    return Sweep(tuples, effects, target, last & bool(inert.all()))


def row_bytes(model: TransformersModel, length: int) -> int:
    """Estimated peak bytes of one row of a forward pass, logits included.

    Counts the residual stream in and out of a block with its copies (8), the widest MLP activations
    (3), and float32 logits with the comparisons of the rank (3).
    """
    config = model.config.get_text_config()
    hidden = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return 4 * (length * (8 * hidden + 3 * inner) + 3 * int(config.vocab_size))


def _chunks(
    group: list[int], active: int, order: int, rows: int
) -> Iterable[tuple[list[int], range]]:
    """Chunks of samples that fit `rows`; a sample that does not fit is split by first layer."""
    counts = [_rows_from(layer, active, order) for layer in range(active)]
    per_sample = 1 + sum(counts)
    if per_sample <= rows:
        size = rows // per_sample
        for start in range(0, len(group), size):
            yield group[start : start + size], range(active)
        return
    if active and 1 + max(counts) > rows:
        raise ValueError(
            f"memory_budget={rows} rows, but should be at least {1 + max(counts)} rows "
            f"[sweep of order {order} over {active} layers]; "
            "raise --memory-budget or lower --orders"
        )
    for sample in group:
        start = 0
        while start < active:
            stop = start + 1
            while stop < active and 1 + sum(counts[start : stop + 1]) <= rows:
                stop += 1
            yield [sample], range(start, stop)
            start = stop


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
