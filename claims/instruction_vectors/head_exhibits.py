"""What head activity shows: maps side by side, sharing between tasks, agreement between k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from claims.instruction_vectors.needs import sub_position
from claims.instruction_vectors.path_views import activity
from claims.instruction_vectors.published import (
    head_jaccard_between_k,
    head_jaccard_between_tasks,
    head_spearman,
)
from ivevidence import Figure, Table
from ivevidence.records.cells import Entry
from ivfixtures.data.instructed import InstructedData
from ivmethods.patching.sweep import LayerTuple
from ivmethods.paths.heads import (
    ACTIVE,
    HeadActivity,
    active,
    first_fifth,
    head_activity,
    last_third,
    spearman,
    with_paths,
)
from ivmethods.paths.results import Tracing
from ivmethods.paths.sharing import jaccard, sharing
from ivmethods.statistics.univariate import ALPHA


@dataclass(frozen=True, eq=False)
class TaskPaths:
    """The paths of a checkpoint and task, by k, and where T_inst is in its prompts."""

    data: InstructedData
    by_k: Mapping[int, Tracing]

    @property
    def t_inst(self) -> int:
        """Position of T_inst."""
        return self.data.samples()[0].t_inst


def measured_activity(tracing: Tracing, position: int, *, seed: int) -> HeadActivity | None:
    """Activity of every head at a position; None without any high-ranking path from there."""
    start = position - tracing.first
    shares = activity(tracing, position)
    if not with_paths(shares).any():
        return None
    drawn = tracing.examined[:, start] < tracing.totals[:, start]
    return head_activity(
        shares,
        tracing.expected[:, start].astype(np.float64),
        high_ranking=tracing.hits[:, start, 0],
        paths=np.where(drawn, np.inf, tracing.totals[:, start]),
        seed=seed,
    )


def head_maps(found: Mapping[str, HeadActivity | None], title: str) -> Figure:
    """Mean activity of every head, a panel each (like Figures 5 and 25-32)."""
    measured = {name: each for name, each in found.items() if each is not None}
    layers, heads = next((each.mean.shape for each in measured.values()), (0, 0))
    data = {
        "rows": [str(layer) for layer in range(layers)],
        "columns": [str(head) for head in range(heads)],
        "panels": [
            {
                "title": f"{name}, n={each.n}",
                "values": each.mean,
                "marked": np.argwhere(each.holm < ALPHA),
            }
            for name, each in measured.items()
        ],
        **{"row_label": "layer", "column_label": "head", "unit": "share of paths", "limit": 1.0},
        "mark": "not as drawn paths",
    }
    caption = (
        "Share of the high-ranking paths that use the head, mean over samples. Marked: other than "
        "in as many paths drawn from all paths of the token (two-sided, Holm over heads, 5 %)."
    )
    return Figure("matrix", title, caption, data)


def strongest_heads(found: HeadActivity, title: str, *, most: int = 10) -> Table:
    """The heads that differ most from paths drawn at random, with their bounds."""
    distance = np.abs(found.mean - found.expected)
    rows: list[tuple[Entry, ...]] = []
    for index in np.argsort(-distance, axis=None, kind="stable")[:most]:
        at = np.unravel_index(index, distance.shape)
        numbers = (found.mean, found.low, found.high, found.expected, found.holm)
        rows.append((f"{at[0]}.{at[1]}", *(_number(each[at]) for each in numbers)))
    columns = ("layer.head", "activity", "low", "high", "if drawn from all paths", "Holm p")
    caption = f"Two-sided 95 % bounds over {found.n} samples, 10,000 resamples."
    return Table(title, columns, tuple(rows), caption)


def sharing_by_place(own: TaskPaths, contrast: TaskPaths) -> Table:
    """Similarity of two tasks' active heads by place and k (like Tables 22-24)."""
    rows: list[tuple[Entry, ...]] = []
    for k in own.by_k:
        one, other = own.by_k[k], contrast.by_k[k]
        for name, (position, other_position) in places(own, contrast).items():
            shares = activity(one, position), activity(other, other_position)
            if with_paths(*shares).sum() < 2:
                rows.append((k, name, 0, *[None] * 5))
                continue
            found = sharing(*shares)
            n, numbers = found.difference.n, (*found.jaccard, *found.corrected)
            rows.append((k, name, n, *map(_number, (*numbers, found.difference.estimate))))
    columns = (
        *("k", "token", "samples", "Jaccard, first fifth", "Jaccard, last third"),
        *("corrected, first fifth", "corrected, last third", "difference"),
    )
    caption = (
        f"Heads with mean activity above {ACTIVE}. Corrected for chance: 1 for equal sets, 0 on "
        "average for random sets of the same sizes; empty where there is nothing to correct."
    )
    title = f"Active heads of {own.data.name} and {contrast.data.name}"
    return Table(title, columns, tuple(rows), caption)


def places(own: TaskPaths, contrast: TaskPaths) -> dict[str, tuple[int, int]]:
    """Where two tasks are compared: T_inst, its neighbours, and the ends of sub-instructions."""
    one, other = own.t_inst, contrast.t_inst
    found = {"T_inst": (one, other)}
    if one and other:
        found["T_inst - 1"] = (one - 1, other - 1)
    found["T_inst + 1"] = (one + 1, other + 1)
    ends = [sub_position(task.data) for task in (own, contrast)]
    if any(end is not None for end in ends):
        first, second = (end or at for end, at in zip(ends, (one, other), strict=True))
        found["end of the sub-instruction"] = (first, second)
    return found


def layers_and_tuples(
    own: HeadActivity | None,
    contrast: HeadActivity | None,
    chosen: Sequence[LayerTuple],
    layers: Sequence[int],
) -> Table:
    """Activity of every layer beside the number of top tuples that it is in."""
    rows: list[tuple[Entry, ...]] = []
    for layer in layers:
        means = [None if each is None else each.mean[layer].mean() for each in (own, contrast)]
        many = None if own is None else int(active(own.mean[layer]).sum())
        rows.append((layer, sum(layer in t for t in chosen), *map(_number, means), many))
    columns = (
        *("layer", "in top tuples", "mean activity of its heads", "under the contrast"),
        "active heads",
    )
    caption = f"Active: mean activity above {ACTIVE}. Activity over all samples."
    title = f"Layers and the {len(chosen)} top tuples of the picking part"
    return Table(title, columns, tuple(rows), caption)


def published_sharing(own: TaskPaths, contrast: TaskPaths) -> list[Table]:
    """Tables 22-24 with ours beside them, where the checkpoint is one of the paper's."""
    rows: list[tuple[Entry, ...]] = []
    if {own.data.name, contrast.data.name} != {"adj_ant", "adj_comp"}:
        return []
    for k in own.by_k:
        for row in head_jaccard_between_tasks(own.data.checkpoint.name, k=k) or ():
            sets = [_active(task.by_k[k], task.t_inst + row.offset) for task in (own, contrast)]
            group = slice(row.layers[0], row.layers[1] + 1)
            ours = jaccard(*(each[group].ravel() for each in sets))
            rows.append(
                (row.table, k, row.offset, _range(row.layers), row.jaccard.text, _number(ours))
            )
    columns = ("table", "k", "token after T_inst", "layers", "published", "ours")
    return [Table("Published similarity of tasks", columns, tuple(rows))] if rows else []


def agreement_between_k(task: TaskPaths) -> Table:
    """Similarity of active heads and rank correlation of activities between k, by layers.

    Source: Tables 2, 3, 20 and 21, whose numbers stand beside ours where the checkpoint is one of
    the paper's.
    """
    layers = next(iter(task.by_k.values())).uses.shape[2]
    published = head_jaccard_between_k(task.data.checkpoint.name, task.data.name) or ()
    printed = {(row.k_a, row.k_b, row.layers): row.jaccard.text for row in published}
    early, late = first_fifth(layers), last_third(layers)
    groups = [(0, early[-1]), (late[0], late[-1]), *dict.fromkeys(row.layers for row in published)]
    rows: list[tuple[Entry, ...]] = []
    for a, b in combinations(sorted(task.by_k), 2):
        sets = [_active(task.by_k[k], task.t_inst) for k in (a, b)]
        for group in dict.fromkeys(groups):
            chosen = slice(group[0], group[1] + 1)
            ours = jaccard(*(each[chosen].ravel() for each in sets))
            known = [printed.get((a, b, group))] if printed else []
            rows.append((f"{a}, {b}", _range(group), _number(ours), *known))
    columns = ("k", "layers", "Jaccard of active heads", *(["published"] if printed else []))
    return Table(f"Active heads at T_inst between k, {task.data.name}", columns, tuple(rows))


def correlation_between_k(task: TaskPaths) -> Table:
    """Spearman's r over the heads of each layer between activities at different k (Table 2)."""
    means = {k: _mean(task.by_k[k], task.t_inst) for k in sorted(task.by_k)}
    pairs = list(combinations(means, 2))
    r = [spearman(means[a], means[b]) for a, b in pairs]
    printed = head_spearman(task.data.checkpoint.name, task.data.name) or {}
    layers = len(next(iter(means.values())))
    rows = [
        (layer, *(_number(each[layer]) for each in r), *([printed[layer].text] if printed else []))
        for layer in range(layers)
    ]
    columns = (
        "layer",
        *(f"k = {a}, {b}" for a, b in pairs),
        *(["published 1, 2"] if printed else []),
    )
    title = f"Spearman's r of head activity at T_inst between k, {task.data.name}"
    return Table(
        title, columns, tuple(rows), "Empty where all heads of a layer are equally active."
    )


def _mean(tracing: Tracing, position: int) -> np.ndarray:
    """Mean activity over the samples with paths; NaN without any."""
    shares = activity(tracing, position)
    kept = shares[with_paths(shares)]
    return kept.mean(axis=0) if len(kept) else np.full(shares.shape[1:], np.nan)


def _active(tracing: Tracing, position: int) -> np.ndarray:
    return active(_mean(tracing, position))


def _range(layers: tuple[int, int]) -> str:
    return f"{layers[0]}-{layers[1]}"


def _number(value: Any) -> float | None:
    # What is 0 on paper may be 1e-16 after a sum of probabilities.
    return None if value is None or not np.isfinite(value) else round(float(value), 12)
