"""What a family's cell shows: the same thing at every stage, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from claims.instruction_vectors.behaviour_exhibits import behaviour_bars
from claims.instruction_vectors.probing_exhibits import accuracy_lines
from ivevidence import Decision, Figure, Table
from ivevidence.records.cells import Entry
from ivfixtures.measuring.probing import Probes
from ivfixtures.suite.exhibits import layers_text, pair_maps, series
from ivmethods.patching.resemblance import Sweeps
from ivmethods.patching.sweep import LayerTuple
from ivmethods.probes.held_out import accuracy, one_against_rest
from ivmethods.statistics.clusters import clusters
from ivmethods.statistics.univariate import concentration

if TYPE_CHECKING:
    from ivfixtures.suite.cells import Cell

SHOWN_TUPLES = 3
KINDS = ("effect", "specific effect")


def effect_maps(
    parts: Mapping[str, Cell], highlight: Mapping[str, Sequence[LayerTuple]] | None = None
) -> Figure:
    """Mean effects on rr of single layers and pairs, a map a stage, all on one color scale.

    Source: Figures 2 and 19.
    """
    panels = {
        stage: (
            part.sweep.tuples,
            part.effects("rr").mean(axis=0),
            (highlight or {}).get(stage, ()),
        )
        for stage, part in parts.items()
    }
    names = ", ".join(part.bench.checkpoint.name for part in parts.values())
    return pair_maps("Effect on rr by stage", f"{names}.", "mean effect (reciprocal rank)", panels)


def behaviour(parts: Mapping[str, Cell]) -> Figure:
    """EMA and IA at every stage (like Figure 20)."""
    return behaviour_bars("Behaviour by stage", parts, "Right (EMA) and valid (IA) answers")


def correlations(parts: Mapping[str, Cell], kept: np.ndarray) -> Table:
    """How alike the stages' sweeps are, with and without sampling noise."""
    rows: list[tuple[Entry, ...]] = []
    for kind in KINDS:
        effects = {stage: _effects(part, kind)[:, kept] for stage, part in parts.items()}
        sweeps = Sweeps(effects, clusters(next(iter(parts.values())).labels))
        clear = {stage for stage in parts if sweeps.has_pattern(stage)}
        for first, second in combinations(parts, 2):
            found = sweeps.correlation(first, second) if {first, second} <= clear else None
            means = np.stack([effects[stage].mean(axis=0) for stage in (first, second)])
            rest = np.delete(means, means.argmax(axis=1), axis=1)
            plain = (_pearson(*means), _pearson(*rest), _pearson(*rankdata(means, axis=1)))
            rows.append((kind, first, second, found, *plain))
    columns = (
        *("of", "stage", "and stage", "correlation", "plain Pearson's r"),
        *("r without each one's largest tuple", "Spearman's r"),
    )
    caption = (
        f"Over {int(kept.sum())} non-degenerate single layers and pairs, on rr. Correlation: from "
        "covariances between different samples, so that sampling noise has no part in it (it may "
        "exceed 1 a little; none where a stage has no clear pattern). The others: of the means, "
        "noise and all. The effect decides; the specific effect is shown."
    )
    return Table("How alike the stages' sweeps are", columns, tuple(rows), caption)


def spread(parts: Mapping[str, Cell], kept: np.ndarray) -> Table:
    """Where each stage's effect is, and over how many tuples it is spread."""
    rows: list[tuple[Entry, ...]] = []
    for kind in KINDS:
        for stage, part in parts.items():
            means = np.where(kept, _effects(part, kind).mean(axis=0), -np.inf)
            best = np.argsort(-means, kind="stable")[:SHOWN_TUPLES]
            rows.append(
                (
                    *(kind, stage, float(means.max()), float(concentration(means[kept]))),
                    "; ".join(layers_text(part.sweep.tuples[i]) for i in best),
                )
            )
    columns = ("of", "stage", "largest mean", "share that holds half", "largest at layers")
    caption = (
        "On rr. Smallest share of the non-degenerate single layers and pairs that holds half of "
        'the positive mean effect: the larger, the more "spread-out" (section 5.1). It decides '
        "nothing here."
    )
    return Table("Where the effect is", columns, tuple(rows), caption)


def verdicts(decisions: Mapping[str, Decision]) -> Table:
    """What the claim's own rule says at each stage."""
    rows = [(stage, decision.verdict, decision.reason) for stage, decision in decisions.items()]
    caption = (
        "By the rule of the claim itself; an upper bound's 5 % is shared between the stages, so a "
        "stage may be refuted here a little later than in the claim's own cell."
    )
    return Table("Verdict at each stage", ("stage", "verdict", "reason"), tuple(rows), caption)


def accuracy_by_layer(probes: Mapping[str, Probes], task: str, threshold: float) -> Figure:
    """Accuracy of each stage's probe by layer."""
    lines, most = [], max(len(of.probe.by_layer) for of in probes.values())
    for stage, of in probes.items():
        index, labels = of.rephrasings.tasks.index(task), of.rephrasings.labels
        by_layer = [one_against_rest(p, labels, index) for p in of.probe.by_layer]
        missing = [None] * (most - len(by_layer))  # stages may have fewer layers than others
        lines.append(series(stage, [*(accuracy(found) for found in by_layer), *missing]))
    return accuracy_lines("Accuracy of a linear probe by layer and stage", lines, task, threshold)


def _effects(part: Cell, kind: str) -> np.ndarray:
    return part.effects("rr") if kind == "effect" else part.specific("rr")


def _pearson(first: np.ndarray, second: np.ndarray) -> float | None:
    if not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])
