"""What a family's cell shows: the same thing at every stage, side by side."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from claims.instruction_vectors.behaviour_exhibits import behaviour_bars
from claims.instruction_vectors.patching_exhibits import layers_text, pair_maps
from claims.instruction_vectors.probing import Probes
from claims.instruction_vectors.probing_exhibits import accuracy_lines
from claims.instruction_vectors.views import Patched
from ivevidence import Decision, Figure, Table
from ivevidence.records.cells import Entry
from ivfixtures.data.instructed import InstructedData
from ivfixtures.suite.exhibits import series
from ivmethods.patching.resemblance import Sweeps
from ivmethods.patching.sweep import LayerTuple
from ivmethods.probes.held_out import accuracy, one_against_rest
from ivmethods.statistics.clusters import clusters
from ivmethods.statistics.univariate import concentration

SHOWN_TUPLES = 3
KINDS = ("effect", "specific effect")


def effect_maps(
    views: Mapping[str, Patched],
    checkpoints: Sequence[str],
    highlight: Mapping[str, Sequence[LayerTuple]] | None = None,
) -> Figure:
    """Mean effects on rr of single layers and pairs, a map a stage, all on one color scale.

    checkpoints: their names, in the order of stages.

    Source: Figures 2 and 19.
    """
    panels = {
        stage: (
            view.tuples,
            view.effects("rr").mean(axis=0),
            (highlight or {}).get(stage, ()),
        )
        for stage, view in views.items()
    }
    names = ", ".join(checkpoints)
    return pair_maps("Effect on rr by stage", f"{names}.", "mean effect (reciprocal rank)", panels)


def behaviour(answered: Mapping[str, tuple[InstructedData, Sequence[str]]]) -> Figure:
    """EMA and IA at every stage (like Figure 20)."""
    return behaviour_bars("Behaviour by stage", answered, "Right (EMA) and valid (IA) answers")


def correlations(views: Mapping[str, Patched], kept: np.ndarray, labels: Sequence[str]) -> Table:
    """How alike the stages' sweeps are, with and without sampling noise."""
    rows: list[tuple[Entry, ...]] = []
    for kind in KINDS:
        effects = {stage: _effects(view, kind)[:, kept] for stage, view in views.items()}
        sweeps = Sweeps(effects, clusters(labels))
        clear = {stage for stage in views if sweeps.has_pattern(stage)}
        for first, second in combinations(views, 2):
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


def spread(views: Mapping[str, Patched], kept: np.ndarray) -> Table:
    """Where each stage's effect is, and over how many tuples it is spread."""
    rows: list[tuple[Entry, ...]] = []
    for kind in KINDS:
        for stage, view in views.items():
            means = np.where(kept, _effects(view, kind).mean(axis=0), -np.inf)
            best = np.argsort(-means, kind="stable")[:SHOWN_TUPLES]
            rows.append(
                (
                    *(kind, stage, float(means.max()), float(concentration(means[kept]))),
                    "; ".join(layers_text(view.tuples[i]) for i in best),
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


def _effects(view: Patched, kind: str) -> np.ndarray:
    return view.effects("rr") if kind == "effect" else view.specific("rr")


def _pearson(first: np.ndarray, second: np.ndarray) -> float | None:
    if not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])
