"""Stages (section 5.1): what post-training keeps of the base model's instruction vectors."""

from collections.abc import Mapping

import numpy as np
import pytest
from jaxtyping import Float

from claims import test_linear_separability as linear_separability
from claims import test_superadditivity as superadditivity
from ivevidence.records import Claim, Decision
from ivfixtures import exhibits, gates, probing, stage_exhibits
from ivfixtures.cells import Cell
from ivfixtures.judging import criterion, judge, judge_all
from ivfixtures.stages import incomparable, kept_tuples, measure_in_turn, stages
from ivmethods.resemblance import Sweeps
from ivmethods.statistics import ALPHA

SMALLEST_HEADROOM = superadditivity.SMALLEST_HEADROOM
SMALLEST_DIFFERENCE = 0.10
COMPARED = ("base", "sft", "dpo")
RIVALS = (("base", "sft"), ("base", "dpo"))
OF_SWEEPS = (
    gates.order(2),
    gates.competence,
    "headroom",
    gates.headroom(SMALLEST_HEADROOM),
    "sweeps",
)

CLAIM = Claim(
    name="stages",
    title="Post-training refines instruction vectors and does not change their nature",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
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
    rule=f"Resemblance: supported if both differences exceed {SMALLEST_DIFFERENCE} (bootstrap over "
    f"samples, the same ones in all stages, one-sided 5 %), refuted if one is short of it "
    f"(one-sided 5 % / {len(RIVALS)}). Superadditivity and separability, read as 'present in base "
    f"and post-trained alike': supported if the claim's own rule supports it at every stage, "
    f"refuted if it refutes it at any (with its 5 % shared between the stages, too); a property "
    f"that is absent everywhere is refuted, as the sentence says that it is observed. Inconclusive "
    f"otherwise. Not applicable without base and a post-trained stage (resemblance: without base, "
    f"sft and dpo), where stages are prompted in different chats, and, but for separability, where "
    f"a stage does not follow the instruction. Inconclusive where a stage has no headroom (mean rr "
    f"gap below {SMALLEST_HEADROOM}), and for resemblance where a stage has no pattern: its "
    f"covariance over tuples between different samples is not above 0 (bootstrap, one-sided 5 %).",
    thresholds={
        "smallest difference of correlations": SMALLEST_DIFFERENCE,
        "smallest headroom": SMALLEST_HEADROOM,
    },
    quantifier="all",  # "across all model checkpoints"
    by_metric=True,  # three properties
)


def decide(
    effects: Mapping[str, Float[np.ndarray, "sample tuple"]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on the resemblance of base, sft and dpo, as CLAIM.rule says.

    effects: by stage, of the same samples and of non-degenerate tuples.

    Being above the larger of two correlations is being above both: an intersection-union test, each
    `low` at the full alpha. Refuted is any one of two, so each `high` is at alpha / 2 (Bonferroni).
    """
    sweeps = Sweeps({stage: effects[stage] for stage in COMPARED})
    resampling = {"resamples": resamples, "seed": seed}
    if blurred := [s for s in COMPARED if not sweeps.has_pattern(s, **resampling)]:
        reason = (
            f"{', '.join(blurred)}: effects on different samples do not agree on a pattern of "
            "tuples, so that there is nothing to compare"
        )
        return Decision("inconclusive", reason, (), None)
    bounds = f"bounds: one-sided 5 % below, 5 % / {len(RIVALS)} above"
    own = sweeps.correlation("sft", "dpo")
    criteria = [
        criterion(
            f"correlation sft-dpo minus {'-'.join(rival)}",
            f"{own:.3g} - {sweeps.correlation(*rival):.3g} ({bounds})",
            sweeps.lead(("sft", "dpo"), rival, alpha_high=ALPHA / len(RIVALS), **resampling),
            SMALLEST_DIFFERENCE,
        )
        for rival in RIVALS
    ]
    return judge(criteria, samples=sweeps.samples)


@pytest.mark.claim(
    CLAIM,
    per="family",
    metrics=("resemblance", "superadditivity", "separability"),
    asks={
        "resemblance": ("behaviour", gates.stages(*COMPARED), *OF_SWEEPS),
        "superadditivity": ("behaviour", gates.stages(), *OF_SWEEPS, "runs"),
        "separability": ("behaviour", gates.stages(), gates.rephrasings, "probes"),
    },
)
def test_stages(cell: Cell) -> None:
    """Post-training refines instruction vectors and does not change their nature."""
    resembles = cell.subject.metric == "resemblance"
    if reason := incomparable(cell, needed=COMPARED if resembles else ()):
        cell.conclude(Decision("not_applicable", reason))
    if cell.subject.metric == "separability":
        _judge_separability(cell)
        return
    cell.require_order(2)
    measure_in_turn(cell, SMALLEST_HEADROOM)
    cell.require_competence()
    cell.require_headroom(SMALLEST_HEADROOM)
    if resembles:
        _judge_resemblance(cell)
    else:
        _judge_superadditivity(cell)


def _judge_resemblance(cell: Cell) -> None:
    kept = kept_tuples(cell)
    if kept is None:
        cell.conclude(Decision("not_applicable", "the checkpoints do not have the same layers"))
        return
    parts = stages(cell)
    decision = decide(
        {stage: parts[stage].effects("rr")[:, kept] for stage in COMPARED}, seed=cell.seed
    )
    cell.conclude(
        decision,
        figures=[*stage_exhibits.effect_maps(parts), stage_exhibits.behaviour(parts)],
        tables=[
            stage_exhibits.correlations(parts, kept),
            stage_exhibits.spread(parts, kept),
        ],
    )


def _judge_superadditivity(cell: Cell) -> None:
    parts = stages(cell)
    found = {
        stage: superadditivity.judge_cell(part, "rr", ways=len(parts))
        for stage, part in parts.items()
    }
    decisions = {stage: decision for stage, (_, decision) in found.items()}
    best = {
        stage: [parts[stage].tuples_of_order(2)[pair] for pair in chosen]
        for stage, (chosen, _) in found.items()
    }
    cell.conclude(
        judge_all(decisions),
        chosen="; ".join(
            f"{stage}: {exhibits.chosen_text(pairs)}" for stage, pairs in best.items() if pairs
        ),
        figures=[*stage_exhibits.effect_maps(parts, best), stage_exhibits.behaviour(parts)],
        tables=[stage_exhibits.verdicts(decisions)],
    )


def _judge_separability(cell: Cell) -> None:
    parts = stages(cell)
    if reason := probing.lacking(cell.bench):
        cell.conclude(Decision("not_applicable", reason))
    task = cell.bench.task.name
    probes = {}
    for stage, part in parts.items():
        part.bench.answers()  # shown beside; measured while the model is in memory
        probes[stage] = probing.probes(part.bench)
    decisions = {
        stage: linear_separability.decide_accuracy(of.found(task), ways=len(parts))
        for stage, of in probes.items()
    }
    cell.conclude(
        judge_all(decisions),
        chosen="; ".join(f"{stage}: {of.chosen_text}" for stage, of in probes.items()),
        figures=[
            stage_exhibits.accuracy_by_layer(probes, task, linear_separability.SMALLEST_ACCURACY),
            stage_exhibits.behaviour(parts),
        ],
        tables=[stage_exhibits.verdicts(decisions)],
    )
