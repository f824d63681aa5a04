"""Stages (section 5.1): what post-training keeps of the base model's instruction vectors."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from claims.instruction_vectors import needs, patching_exhibits, probing, stage_exhibits
from claims.instruction_vectors import test_linear_separability as linear_separability
from claims.instruction_vectors import test_superadditivity as superadditivity
from claims.instruction_vectors.gates import COMPETENCE, REPHRASINGS, headroom, order
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.probing import Probes
from claims.instruction_vectors.stages import comparable, kept_tuples, stages
from claims.instruction_vectors.views import Patched, patched
from ivevidence.records.cells import Decision
from ivfixtures.data.instructed import InstructedData, behaviour
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import about, judge, judge_all, no_headroom
from ivmethods.method import Result
from ivmethods.model.methods import Runs
from ivmethods.patching.discovery import SMALLEST_CLOSED_SHARE
from ivmethods.patching.resemblance import Sweeps
from ivmethods.patching.sweep import Sweep
from ivmethods.statistics.bounded import wider
from ivmethods.statistics.clusters import FEWEST_ANSWERS, clusters
from ivmethods.statistics.univariate import finite

SMALLEST_HEADROOM = superadditivity.SMALLEST_HEADROOM
SMALLEST_DIFFERENCE = 0.10
LEAST_SAMPLES = 20
LEAST_TUPLES = 6  # three are left without each stage's largest
COMPARED = ("base", "sft", "dpo")
OWN = ("sft", "dpo")
RIVALS = (("base", "sft"), ("base", "dpo"))
LEADS = all_of(
    *(
        Asked(f"correlation {'-'.join(OWN)} minus {'-'.join(rival)}", SMALLEST_DIFFERENCE)
        for rival in RIVALS
    )
)
GATES = (order(2), COMPETENCE, headroom(SMALLEST_HEADROOM))
OF_SWEEPS = {
    "answers": behaviour,
    "runs": Runs(),
    "sweep": needs.sweep,
    "control": needs.control_sweep,
}

CLAIM = PAPER.claim(
    "stages",
    level="L2",  # sweeps without a null of their own; separability alone would be L1
    title="Post-training refines instruction vectors and does not change their nature",
    section="5.1",
    quote="Since we observe superadditivity across all model checkpoints, it is likely that the "
    "multi-component nature of instructional representations is a fundamental property, and that "
    "the role of post-training is not to change their nature, but rather to refine them. In "
    "particular, we notice that the post-trained models tend to form representations in similar "
    "layer groups, but at different ones than the base model [...] Furthermore, the fact that this "
    "separation is present in both base and post-trained checkpoints implies that post-training "
    "does not newly introduce this geometric property",
    estimand="Metric resemblance: the correlation, over all non-degenerate single layers and pairs "
    "of layers, of the mean effects on rr of sft and dpo, minus that of base and sft, and minus "
    "that of base and dpo; each free of sampling noise (covariances between different samples). "
    "Metrics superadditivity (on rr) and separability: what the claims of these names estimate, at "
    "each stage; of separability, the accuracy (whether the wording alone reaches it, the lead "
    "cells of that claim say).",
    rule=f"Resemblance: with bounds of a jackknife over samples, the same ones in all stages, "
    f"{supported_if(*LEADS)}, {refuted_if(*LEADS)}, both with all tuples and "
    f"without the one or more that have the largest effect at a stage: one giant is no pattern. "
    f"Where samples share answers and there are at least {FEWEST_ANSWERS}, answers take the place "
    f"of samples. Superadditivity and separability, read as 'present in base "
    f"and post-trained alike': supported if the claim's own rule supports it at every stage, "
    f"refuted if it refutes it at any (with its 5 % shared between the stages, too); a property "
    f"that is absent everywhere is refuted, as the sentence says that it is observed. Inconclusive "
    f"otherwise. Not applicable without base and a post-trained stage (resemblance: without base, "
    f"sft and dpo), where stages are prompted in different chats, and, but for separability, where "
    f"a stage does not follow the instruction. Inconclusive where a stage has no headroom (mean rr "
    f"gap below {SMALLEST_HEADROOM}), and for resemblance with fewer than {LEAST_SAMPLES} samples "
    f"or {LEAST_TUPLES} tuples, "
    f"where no tuple closes {SMALLEST_CLOSED_SHARE:.0%} of a stage's gap, and where a stage has no "
    f"pattern: its covariance over tuples between different samples is not above 0 (jackknife, "
    f"one-sided 5 %).",
    thresholds={
        "smallest difference of correlations": SMALLEST_DIFFERENCE,
        "smallest headroom": SMALLEST_HEADROOM,
        "smallest closed share": SMALLEST_CLOSED_SHARE,
        "least samples": LEAST_SAMPLES,
        "least tuples": LEAST_TUPLES,
    },
    quantifier="all",  # "across all model checkpoints"
    by_metric=True,  # three properties
)


def decide(
    effects: Mapping[str, Float[np.ndarray, "sample tuple"]],
    *,
    gaps: Mapping[str, Float[np.ndarray, " sample"]],
    labels: Sequence[str],
) -> Decision:
    """The verdict on the resemblance of base, sft and dpo, as CLAIM.rule says.

    effects, gaps: by stage, in rr, of the same samples; effects of non-degenerate tuples. labels:
    the right answers.
    """
    means = {s: finite(effects[s], "effects", "stages").mean(axis=0) for s in COMPARED}
    if reason := _undecidable(means, gaps, samples=len(labels)):
        return Decision("inconclusive", reason, (), None)
    units = clusters(labels)
    sweeps = Sweeps({stage: effects[stage] for stage in COMPARED}, units)
    if blurred := [stage for stage in COMPARED if not sweeps.has_pattern(stage)]:
        reason = (
            f"{', '.join(blurred)}: effects on different samples do not agree on a pattern of "
            "tuples, so that there is nothing to compare"
        )
        return Decision("inconclusive", reason, (), None)
    smaller = np.ones(sweeps.tuples, dtype=bool)
    smaller[[int(mean.argmax()) for mean in means.values()]] = False
    rest = Sweeps({stage: effects[stage][:, smaller] for stage in COMPARED}, units)
    criteria = []
    for rival, asked in zip(RIVALS, LEADS, strict=True):
        own, other = sweeps.correlation(*OWN), sweeps.correlation(*rival)
        high = asked.alphas["alpha_high"]
        alone = [each.lead(OWN, rival, alpha_high=high) for each in (sweeps, rest)]
        criteria.append(
            asked.criterion(
                f"{own:.3g} - {other:.3g}; without the {np.sum(~smaller)} largest tuples of "
                f"{len(smaller)} {alone[1].estimate:.3g}, the wider bounds count",
                wider(*alone),
            )
        )
    return about(judge(criteria, samples=sweeps.samples), labels)


def _undecidable(
    means: Mapping[str, Float[np.ndarray, " tuple"]],
    gaps: Mapping[str, Float[np.ndarray, " sample"]],
    *,
    samples: int,
) -> str | None:
    """Why nothing is to be compared: too few samples, or a stage without a gap or an effect."""
    if samples < LEAST_SAMPLES:
        return f"{samples} samples, but should be at least {LEAST_SAMPLES}"
    if (tuples := len(means["base"])) < LEAST_TUPLES:
        return f"{tuples} tuples, but should be at least {LEAST_TUPLES}"
    for stage, mean in means.items():
        if no_room := no_headroom(gaps[stage], SMALLEST_HEADROOM):
            return f"{stage}: {no_room.reason}"
        if mean.max() < SMALLEST_CLOSED_SHARE * gaps[stage].mean():
            return f"{stage}: no tuple's effect closes {SMALLEST_CLOSED_SHARE:.0%} of the gap"
    return None


def _views(
    cell: Cell,
    runs: Sequence[Mapping[str, np.ndarray]],
    sweep: Sequence[Sweep],
    control: Sequence[Sweep],
) -> dict[str, Patched]:
    """What was patched, in rr, by stage."""
    return {
        stage: patched(cell, sweep[i], control[i], runs[i], part=i, metric="rr")
        for stage, i in stages(cell.parts).items()
    }


def _answered(
    cell: Cell, answers: Sequence[Sequence[str]]
) -> dict[str, tuple[InstructedData, Sequence[str]]]:
    return {stage: (cell.parts[i], answers[i]) for stage, i in stages(cell.parts).items()}


def _checkpoints(cell: Cell) -> list[str]:
    return [part.checkpoint.name for part in cell.parts]


@claim(
    CLAIM,
    on=Instructed("family"),
    metrics=("resemblance",),
    gates=(comparable(*COMPARED), *GATES),
    needs=OF_SWEEPS,
)
def test_resemblance(
    cell: Cell,
    answers: Sequence[Sequence[str]],
    runs: Sequence[Mapping[str, np.ndarray]],
    sweep: Sequence[Sweep],
    control: Sequence[Sweep],
) -> None:
    """Sft and dpo form representations in similar layers, at different ones than base."""
    views, labels = _views(cell, runs, sweep, control), cell.data.labels
    kept = kept_tuples(views)
    if kept is None:
        cell.conclude(Decision("not_applicable", "the checkpoints do not have the same layers"))
    decision = decide(
        {stage: views[stage].effects()[:, kept] for stage in COMPARED},
        gaps={stage: views[stage].gap() for stage in COMPARED},
        labels=labels,
    )
    cell.conclude(
        decision,
        figures=[
            stage_exhibits.effect_maps(views, _checkpoints(cell)),
            stage_exhibits.behaviour(_answered(cell, answers)),
        ],
        tables=[
            stage_exhibits.correlations(views, kept, labels),
            stage_exhibits.spread(views, kept),
        ],
    )


@claim(
    CLAIM,
    on=Instructed("family"),
    metrics=("superadditivity",),
    gates=(comparable(), *GATES),
    needs=OF_SWEEPS,
)
def test_superadditivity_of_stages(
    cell: Cell,
    answers: Sequence[Sequence[str]],
    runs: Sequence[Mapping[str, np.ndarray]],
    sweep: Sequence[Sweep],
    control: Sequence[Sweep],
) -> None:
    """Superadditivity is present in base and post-trained checkpoints alike."""
    views = _views(cell, runs, sweep, control)
    judged = {
        stage: superadditivity.judge_view(view, cell.data.labels, ways=len(views))
        for stage, view in views.items()
    }
    decisions = {stage: decision for stage, (_, decision) in judged.items()}
    best = {
        stage: [views[stage].tuples_of_order(2)[pair] for pair in chosen]
        for stage, (chosen, _) in judged.items()
    }
    cell.conclude(
        judge_all(decisions),
        chosen="; ".join(
            f"{stage}: {patching_exhibits.chosen_text(pairs)}"
            for stage, pairs in best.items()
            if pairs
        ),
        figures=[
            stage_exhibits.effect_maps(views, _checkpoints(cell), best),
            stage_exhibits.behaviour(_answered(cell, answers)),
        ],
        tables=[stage_exhibits.verdicts(decisions)],
    )


@claim(
    CLAIM,
    on=Instructed("family"),
    metrics=("separability",),
    gates=(comparable(), REPHRASINGS),
    needs={"answers": behaviour, "probes": probing.probes},
)
def test_separability(
    cell: Cell, answers: Sequence[Sequence[str]], probes: Sequence[Result]
) -> None:
    """Separability is present in base and post-trained checkpoints alike."""
    task = cell.data.name
    views = {
        stage: Probes.of_result(cell.parts[i], probes[i]) for stage, i in stages(cell.parts).items()
    }
    decisions = {
        stage: linear_separability.decide_accuracy(view.against_rest(task), ways=len(views))
        for stage, view in views.items()
    }
    threshold = linear_separability.SMALLEST_ACCURACY
    cell.conclude(
        judge_all(decisions),
        chosen="; ".join(f"{stage}: {view.chosen_text}" for stage, view in views.items()),
        figures=[
            stage_exhibits.accuracy_by_layer(views, task, threshold),
            stage_exhibits.behaviour(_answered(cell, answers)),
        ],
        tables=[stage_exhibits.verdicts(decisions)],
    )
