"""Localization (section 5.1): T_inst's residual at few layers carries the instruction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from claims.instruction_vectors import needs, patching_exhibits, published_exhibits
from claims.instruction_vectors.gates import COMPETENCE, headroom
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.views import in_metric, patched
from ivevidence.records.cells import Criterion, Decision
from ivfixtures.measuring.inquiry import Inquiry, Then
from ivfixtures.suite import exhibits
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import about, judge, no_headroom
from ivmethods.model.methods import Runs
from ivmethods.patching.methods import AllLayers, Controls
from ivmethods.patching.sweep import LayerTuple, Sweep
from ivmethods.statistics.bootstrap import bootstrap
from ivmethods.statistics.bounded import above_all, backed, bounded_ratio, wider
from ivmethods.statistics.clusters import FEWEST_ANSWERS, clustered_ratio, clusters
from ivmethods.statistics.univariate import ALPHA, Interval, finite, ratio_of_means

SMALLEST_HEADROOM = 0.10
SMALLEST_CLOSED_SHARE = 0.10
FEW_LAYERS = 0.25
SMALLEST_PART_OF_ALL = 0.50
LEAST_SAMPLES = 15
RIVALS = {
    "random vectors": "random",
    "other positions": "positions",
    "neutral sentences": "neutral",
}
ASKED = all_of(
    Asked("closed share", SMALLEST_CLOSED_SHARE),
    Asked("specifically closed share", SMALLEST_CLOSED_SHARE),
    Asked(f"lead over {SMALLEST_PART_OF_ALL:.0%} of all layers", 0.0),
    *(Asked(f"lead over {name}", 0.0) for name in RIVALS),
)
OWN = CLOSED, SPECIFIC, PART_OF_ALL = ASKED[:3]
LEADS = dict(zip(RIVALS, ASKED[3:], strict=True))

CLAIM = PAPER.claim(
    "localization",
    level="L3",  # no-op, norm-matched vectors and other instructions, picked apart
    direction="sufficient",  # written into the run without the instruction
    title="T_inst's residual at few layers carries the instruction",
    section="5.1",
    quote="our setup checks for localizability of instruction digests by testing whether the model "
    "can recover the correct answer from the query context and a small subset of the "
    "instructional representations.",
    estimand="The share of the gap between target and instructed run, in rr, that is closed by "
    "writing T_inst's residual after few layers at the filler: mean effect / mean gap over "
    "samples, for the effect and for the specific effect; and how it compares with the best of "
    "other vectors written there, and with writing it after every layer.",
    rule=f"Of the tuples with fewer than {FEW_LAYERS:.0%} of the layers (one layer at least; the "
    f"inert last one does not count), the picking part picks the one whose smaller one of mean "
    f"effect and mean specific effect is largest, and the rivals with the largest mean effect: of "
    f"norm-matched random vectors, of the instruction's other positions, of neutral sentences. On "
    f"the other samples, {supported_if(*ASKED)}; {refuted_if(*ASKED)}; inconclusive otherwise. "
    f"Closed is what share of the gap the tuple's effect closes, specifically that of its specific "
    f"effect; leads are of its effect, over that of all layers together and over every vector of "
    f"a kind for support, over the picked one alone for refutation. Each bound is the wider one of "
    f"a bootstrap over samples and one for bounded quantities (Gaffke; this alone where resampling "
    f"gives none); where samples share answers and there are at least "
    f"{FEWEST_ANSWERS}, also one over answers (jackknife). Inconclusive instead of refuted where "
    f"no rival refutes and another tuple of few layers, or a pair, may do what is asked, by its "
    f"upper bounds over all samples: it was missed, or two layers are not few here. Inconclusive "
    f"without headroom (mean rr gap over all samples below {SMALLEST_HEADROOM}) and with fewer "
    f"than {LEAST_SAMPLES} samples that decide.",
    thresholds={
        "smallest headroom": SMALLEST_HEADROOM,
        "smallest closed share": SMALLEST_CLOSED_SHARE,
        "few layers": FEW_LAYERS,
        "smallest part of the effect of all layers": SMALLEST_PART_OF_ALL,
        "least samples": LEAST_SAMPLES,
    },
    quantifier="all",  # "the model": of every one, no exception is named
)


def few_layers(layers: int) -> int:
    """The largest number of layers that is fewer than a quarter of those that count; at least 1."""
    return max(1, math.ceil(FEW_LAYERS * layers) - 1)


def discover(
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    tuples: Sequence[LayerTuple],
    *,
    is_discovery: Bool[np.ndarray, " sample"],
    degenerate: Bool[np.ndarray, " tuple"],
) -> int:
    """The tuple of few layers whose smaller one of mean effect and mean specific effect is largest.

    Only the picking part counts. Of equal ones the first: tuples come with fewest layers first.
    Raises: ValueError if every tuple is degenerate, or on NaN.
    """
    if degenerate.all():
        raise ValueError(
            f"non-degenerate tuples=0 of {len(degenerate)}, but should be at least 1 "
            "[localization]: sweep layers before the last one"
        )
    own = finite(effects[is_discovery], "effects", "localization, picking part")
    contrasted = finite(specific[is_discovery], "specific", "localization, picking part")
    smaller = np.minimum(own.mean(axis=0), contrasted.mean(axis=0))
    layers = {
        layer for t, inert in zip(tuples, degenerate, strict=True) if not inert for layer in t
    }
    few = few_layers(len(layers))
    passed_over = degenerate | np.array([len(t) > few for t in tuples])
    return int(np.argmax(np.where(passed_over, -np.inf, smaller)))


def decide(
    *,
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    chosen: int,
    rivals: Mapping[str, Float[np.ndarray, "sample _"]],
    all_layers: Float[np.ndarray, " sample"],
    gap: Float[np.ndarray, " sample"],
    is_discovery: Bool[np.ndarray, " sample"],
    labels: Sequence[str],
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on the tuple that `discover` chose, as CLAIM.rule says. All values are in rr.

    rivals: effects at the chosen tuple of the other vectors, by their kind; a kind without any is
    left out. all_layers: effect of patching every layer. gap: rr(instructed) - rr(target).
    labels: the right answers. All hold all samples; those that picked are dropped here.
    """
    if no_room := no_headroom(gap, SMALLEST_HEADROOM):
        return no_room
    deciding = ~is_discovery
    if (n := int(deciding.sum())) < LEAST_SAMPLES:
        reason = f"{n} samples decide, but should be at least {LEAST_SAMPLES}"
        return Decision("inconclusive", reason, (), None)
    if gap[deciding].mean() <= 0:
        reason = "no headroom: no gap on the samples that decide"
        return Decision("inconclusive", reason, (), None)
    closed, answers = effects[:, chosen], list(compress(labels, deciding))
    units, alphas = clusters(answers), CLOSED.alphas

    def unshaped(effect: Float[np.ndarray, " sample"]) -> Interval:
        """Without resampling: of bounded values, and over answers."""
        effect, gaps = effect[deciding], gap[deciding]
        interval = bounded_ratio(effect, gaps, draws=resamples, seed=seed, **alphas)
        if units is not None:
            interval = wider(interval, clustered_ratio(effect, gaps, units, **alphas))
        return interval

    def share_of_gap(
        asked: Asked,
        description: str,
        effect: Float[np.ndarray, " sample"],
        others: Sequence[Float[np.ndarray, " sample"]] = (),
    ) -> Criterion:
        """others: effects that have to be above the threshold, too, for support."""
        arrays = effect[deciding], gap[deciding]
        resampled = bootstrap(
            ratio_of_means, *arrays, smooth=True, resamples=resamples, seed=seed, **alphas
        )
        interval = above_all(backed(resampled, unshaped(effect)), list(map(unshaped, others)))
        return asked.criterion(description, interval)

    criteria = [
        share_of_gap(CLOSED, "mean effect of the chosen tuple / mean gap", closed),
        share_of_gap(
            SPECIFIC, "mean specific effect of the chosen tuple / mean gap", specific[:, chosen]
        ),
    ]
    for name, values in rivals.items():
        if values.shape[1]:
            best = int(values[is_discovery].mean(axis=0).argmax())
            criteria.append(
                share_of_gap(
                    LEADS[name],
                    f"mean (effect - effect of the best of {values.shape[1]} {name}) / mean gap; "
                    "the lower bound is the smallest over all of these",
                    closed - values[:, best],
                    [closed - column for column in np.delete(values, best, axis=1).T],
                )
            )
    criteria.append(
        share_of_gap(
            PART_OF_ALL,
            f"mean (effect - {SMALLEST_PART_OF_ALL:.0%} of the effect of patching every layer) / "
            "mean gap",
            closed - SMALLEST_PART_OF_ALL * all_layers,
        )
    )
    return about(judge(criteria, samples=len(gap)), answers)


def unless_elsewhere(
    decision: Decision,
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    tuples: Sequence[LayerTuple],
    *,
    gap: Float[np.ndarray, " sample"],
    all_layers: Float[np.ndarray, " sample"],
    degenerate: Bool[np.ndarray, " tuple"],
    draws: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The decision, but inconclusive instead of refuted where another tuple may do what is asked.

    The picking part may have missed it, or it may take two layers where only single ones are few.
    A tuple may do what is asked unless an upper bound over all samples (Gaffke, one-sided 5 % /
    ways to be refuted) is short of a tenth of the gap, of its effect or its specific effect, or of
    half of the effect of all layers. What a rival refutes stays refuted. A criterion that is short
    refutes at no smaller level than the other tuples are excluded at, or at an unknown one.
    """
    short = {c.name for c in decision.criteria if c.outcome == "short"}
    if not short <= {asked.name for asked in OWN}:
        return _at_level(decision, None)
    if not short:
        return decision
    counted = sum(len(t) == 1 and not inert for t, inert in zip(tuples, degenerate, strict=True))
    few = few_layers(counted)

    def level(values: Float[np.ndarray, " sample"], asked: Asked) -> float:
        bounds = bounded_ratio(values, gap, draws=draws, seed=seed, **asked.alphas)
        return (bounds.level(asked.threshold) or 1.0) if bounds.high < asked.threshold else 1.0

    def excluded_at(column: int) -> float:
        own = effects[:, column]
        return min(
            level(own, CLOSED),
            level(specific[:, column], SPECIFIC),
            level(own - SMALLEST_PART_OF_ALL * all_layers, PART_OF_ALL),
        )

    largest = 0.0
    for column, layers in enumerate(tuples):
        if degenerate[column] or len(layers) > max(2, few):
            continue
        if (excluded := excluded_at(column)) <= ALPHA:
            largest = max(largest, excluded)
            continue
        how = "are few" if len(layers) <= few else "are not few"
        reason = (
            f"layers {', '.join(map(str, layers))} ({how} of {counted}) may do what was asked: "
            f"{decision.reason}"
        )
        return replace(decision, verdict="inconclusive", reason=reason)
    return _at_level(decision, largest)


def _at_level(decision: Decision, least: float | None) -> Decision:
    """The decision, its own criteria short at no smaller level than `least`; None: unknown."""
    criteria = tuple(
        replace(c, level=None if None in (c.level, least) else max(c.level or 0.0, least or 0.0))
        if c.outcome == "short" and c.name in {asked.name for asked in OWN}
        else c
        for c in decision.criteria
    )
    return replace(decision, criteria=criteria)


def picked(
    inquiry: Inquiry,
    *,
    runs: Mapping[str, np.ndarray],
    sweep: Sweep,
    control: Sweep,
    **others: object,
) -> int:
    """The tuple of the sweep that `discover` chooses."""
    view = patched(inquiry, sweep, control, runs)
    return discover(
        view.effects(),
        view.specific(),
        view.tuples,
        is_discovery=view.is_discovery,
        degenerate=view.degenerate,
    )


def _controls(inquiry: Inquiry, *, sweep: Sweep, **results: Any) -> Controls:
    chosen = picked(inquiry, sweep=sweep, **results)
    return needs.controls(inquiry.data, sweep.tuples[chosen])


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("rr",),
    gates=(COMPETENCE, headroom(SMALLEST_HEADROOM)),
    needs={
        "runs": Runs(),
        "sweep": needs.sweep,
        "control": needs.control_sweep,
        "no_op": needs.no_op,
        "all_layers": AllLayers(),
        "released": needs.released_sweep,
    },
    then={"controls": Then(_controls, like=lambda data, settings: needs.controls(data))},
)
def test_localization(
    cell: Cell,
    runs: Mapping[str, np.ndarray],
    sweep: Sweep,
    control: Sweep,
    no_op: float,
    all_layers: np.ndarray,
    released: Sweep,
    controls: Mapping[str, np.ndarray],
) -> None:
    """T_inst's residual at few layers carries the instruction."""
    view = patched(cell, sweep, control, runs)
    chosen = picked(cell, runs=runs, sweep=sweep, control=control)
    layers, others = view.tuples[chosen], in_metric(controls, view.metric)
    every = in_metric({"all": all_layers}, view.metric)["all"]
    effects, specific, gap = view.effects(), view.specific(), view.gap()
    decision = decide(
        effects=effects,
        specific=specific,
        chosen=chosen,
        rivals={name: others[key] for name, key in RIVALS.items()},
        all_layers=every,
        gap=gap,
        is_discovery=view.is_discovery,
        labels=cell.data.labels,
        seed=cell.seed,
    )
    decision = unless_elsewhere(
        decision,
        effects,
        specific,
        view.tuples,
        gap=gap,
        all_layers=every,
        degenerate=view.degenerate,
        seed=cell.seed,
    )
    per_sample = {
        "effect": effects[:, chosen],
        "specific effect": specific[:, chosen],
        "gap": gap,
    }
    cell.conclude(
        decision,
        chosen=patching_exhibits.chosen_text([layers]),
        figures=[
            *patching_exhibits.effect_maps(view, [layers]),
            patching_exhibits.position_bars(cell.data, view, layers, others["positions"]),
        ],
        tables=[
            patching_exhibits.top_tuples(view),
            patching_exhibits.concentrations(view, every),
            exhibits.answers(cell.data.labels, ~view.is_discovery, per_sample),
            patching_exhibits.runs(runs),
            patching_exhibits.released(released, view.metric),
            *published_exhibits.published_lists(cell.data, view, released),
        ],
        controls=[patching_exhibits.controls(view, layers, others, no_op)],
        per_sample=per_sample,
    )
