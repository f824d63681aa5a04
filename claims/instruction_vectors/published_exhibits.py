"""What a patching cell shows of the paper's lists, where the checkpoint is one of the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from claims.instruction_vectors.patching_exhibits import layers_text
from claims.instruction_vectors.published import TopTuple, top_tuples
from claims.instruction_vectors.views import Patched
from ivevidence import Table
from ivevidence.records.cells import Entry
from ivfixtures.data.instructed import InstructedData
from ivmethods.patching.sweep import LayerTuple, Sweep

ORDERS = {2: "one and two layers", 3: "three layers"}


@dataclass(frozen=True, eq=False)
class Ranked:
    """Measured mean effects of the tuples that a published list was chosen from.

    ranks: 1 for the largest mean, ties share their best rank.
    """

    tuples: tuple[LayerTuple, ...]
    means: Float[np.ndarray, " tuple"]
    ranks: Float[np.ndarray, " tuple"]

    def at(self, layers: LayerTuple) -> tuple[float, int] | None:
        """Mean and rank of one tuple; None where it was not measured."""
        if layers not in self.tuples:
            return None
        index = self.tuples.index(layers)
        return float(self.means[index]), int(self.ranks[index])

    def overlap(self, published: Sequence[TopTuple]) -> int:
        """How many published tuples are among as many best measured ones."""
        best = np.argsort(-self.means, kind="stable")[: len(published)]
        return len({self.tuples[i] for i in best} & {row.layers for row in published})

    def spearman(self, published: Sequence[TopTuple]) -> float | None:
        """Spearman's r of printed and measured values over the published tuples.

        None where fewer than 3 were measured, or where one side does not vary.
        """
        both = [
            (row.contribution.value, found[0])
            for row in published
            if (found := self.at(row.layers)) is not None
        ]
        if len(both) < 3 or any(len(set(side)) < 2 for side in zip(*both, strict=True)):
            return None
        return float(stats.spearmanr(*zip(*both, strict=True)).statistic)


def ranked(sweep: Sweep, metric: str, order: int) -> Ranked:
    """Mean effects of one or two layers (order 2) or of exactly three (order 3)."""
    kept = [i for i, t in enumerate(sweep.tuples) if (len(t) == 3) == (order == 3)]
    means = sweep.of(metric).numpy().astype(np.float64).mean(axis=0)[kept]
    ranks = stats.rankdata(-means, method="min")
    return Ranked(tuple(sweep.tuples[i] for i in kept), means, ranks)


def published_lists(data: InstructedData, view: Patched, released: Sweep) -> list[Table]:
    """The paper's ten best tuples beside measured ones, and how far the two rankings agree.

    None of it where the checkpoint is not one of the paper's, or the paper has no list.

    Source: Tables 9-18.
    """
    tables: list[Table] = []
    agreement: list[tuple[Entry, ...]] = []
    for order, name in ORDERS.items():
        published = top_tuples(data.checkpoint.name, data.name, view.metric, order=order)
        if published is None or order > view.order:
            continue
        found = _protocols(view, released, order)
        tables.append(_side_by_side(published, found, view.metric, name))
        agreement += [
            (
                *(name, protocol, each.overlap(published), len(published), len(each.tuples)),
                each.spearman(published),
            )
            for protocol, each in found.items()
        ]
    if not agreement:
        return []
    columns = ("list", "protocol", "in both top lists", "of", "tuples", "Spearman's r")
    caption = (
        "In both top lists: published tuples among as many best measured ones. Spearman's r: of "
        "printed and measured values over the published tuples, which are all near the top. The "
        "paper rounds to two digits, so long ties stand in the order of enumeration. It decides "
        "nothing here."
    )
    title = f"Agreement with the paper's lists, {view.metric}"
    return [*tables, Table(title, columns, tuple(agreement), caption)]


def _protocols(view: Patched, released: Sweep, order: int) -> dict[str, Ranked]:
    """What was measured as the paper's text says; pairs also as the released scripts do it."""
    found = {"paper": ranked(view.sweep, view.metric, order)}
    if order == 2:
        metric = "rr_released" if view.metric == "rr" else view.metric
        found["released"] = ranked(released, metric, order)
    return found


def _side_by_side(
    published: Sequence[TopTuple], found: dict[str, Ranked], metric: str, name: str
) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for row in published:
        measured = [each.at(row.layers) or (None, None) for each in found.values()]
        rows.append(
            (
                *(row.position, layers_text(row.layers), row.contribution.text),
                *(value for pair in measured for value in pair),
            )
        )
    names = [f"{what}, {protocol} protocol" for protocol in found for what in ("mean", "rank")]
    caption = "All samples; ranks among all tuples of the list's kind, 1 for the largest mean."
    title = f"Table {published[0].table}: the paper's best tuples of {name}, {metric}"
    return Table(title, ("position", "layers", "printed", *names), tuple(rows), caption)
