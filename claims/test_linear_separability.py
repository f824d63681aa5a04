"""Linear separability (section 5.1): T_inst residuals of rephrasings tell which task they are."""

from collections.abc import Mapping

import pytest

from ivevidence.records import Claim, Decision
from ivfixtures import gates, probing, probing_exhibits
from ivfixtures.cells import Cell
from ivfixtures.judging import criterion, judge
from ivmethods.probes import OneAgainstRest, accuracy, lead
from ivmethods.statistics import ALPHA

SMALLEST_ACCURACY = 0.98
SMALLEST_LEAD = 0.10
CRITERIA = 4

CLAIM = Claim(
    name="linear_separability",
    title="T_inst residuals of rephrased instructions are linearly separable by task",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
    section="5.1",
    quote="We find that our linear probe has high accuracy for all task clusters (98%<<). This "
    "implies that the instruction vectors do form linearly separable clusters, but potentially at "
    "a high dimension that was not captured by our dimensionality reduction method.",
    estimand="The accuracy with which a linear probe tells a task's rephrasings from those of all "
    "other tasks, on instructions that it was not fitted on: half the share of the task's own that "
    "are recognized and half the share of the others that are kept apart (chance: 0.5). The probe "
    "is one multinomial logistic regression for all tasks, at the layer that does best on other "
    f"folds ({probing.FOLDS} folds, no instruction in two of them); and its lead over the same "
    "regression on the bag of words, on the layer-0 input, and with shuffled labels.",
    rule=f"At most {probing.MOST_REPHRASINGS} rephrasings a task. Supported if the accuracy is "
    f"above {SMALLEST_ACCURACY} and exceeds that of each of the three controls by more than "
    f"{SMALLEST_LEAD:.0%}, each with its lower bound (one-sided 5 %, exact for independent "
    "instructions). Refuted if an upper bound is short of its threshold (one-sided 5 % / "
    f"{CRITERIA}, as there are {CRITERIA} ways to be refuted), inconclusive otherwise. Also "
    f"inconclusive without room: where a control reaches {1 - SMALLEST_LEAD:.2f} by itself, "
    f"nothing could exceed it by more than {SMALLEST_LEAD:.0%}, so that these rephrasings cannot "
    "tell the representation from the wording (unless the accuracy itself is refuted).",
    thresholds={
        "smallest accuracy": SMALLEST_ACCURACY,
        "smallest lead over each control": SMALLEST_LEAD,
    },
)


def decide(
    found: OneAgainstRest, controls: Mapping[str, OneAgainstRest], *, ways: int = CRITERIA
) -> Decision:
    """The verdict on one task's held-out predictions and those of the controls, as CLAIM.rule says.

    ways: to be refuted, where this is one decision of several.

    Supported is an intersection-union test: each criterion's `low` is at the full alpha. Refuted
    is any one of four, so each `high` is at alpha / 4 (Bonferroni).
    """
    bounds = f"bounds: one-sided 5 % below, 5 % / {ways} above"
    high = ALPHA / ways
    criteria = [
        criterion(
            "accuracy",
            f"balanced accuracy on held-out rephrasings ({bounds})",
            accuracy(found, alpha_high=high),
            SMALLEST_ACCURACY,
        )
    ]
    criteria += [
        criterion(
            f"lead over {name}",
            f"balanced accuracy minus that of the {name} on the same rephrasings ({bounds})",
            lead(found, control, alpha_high=high),
            SMALLEST_LEAD,
        )
        for name, control in controls.items()
    ]
    full = [
        f"{name} ({control.accuracy:.3f})"
        for name, control in controls.items()
        if control.accuracy >= 1 - SMALLEST_LEAD
    ]
    if full and criteria[0].outcome != "short":
        reason = (
            f"no room above {' and '.join(full)}: a lead of more than {SMALLEST_LEAD} is beyond "
            f"reach, so the probe's accuracy ({found.accuracy:.3f}) may come from the wording alone"
        )
        return Decision("inconclusive", reason, tuple(criteria), None)
    return judge(criteria, samples=len(found.own) + len(found.others))


@pytest.mark.claim(CLAIM, asks=("behaviour", gates.rephrasings, "probes"))
def test_linear_separability(cell: Cell) -> None:
    """T_inst residuals of rephrased instructions are linearly separable by task.

    No gate of competence: the paper finds it in base checkpoints, too.
    """
    if reason := probing.lacking(cell.bench):
        cell.conclude(Decision("not_applicable", reason))
    probes, task = probing.probes(cell.bench), cell.bench.task.name
    found, controls = probes.found(task), probes.controls(task)
    cell.conclude(
        decide(found, controls),
        chosen=probes.chosen_text,
        figures=[
            probing_exhibits.accuracy_by_layer(cell, probes, SMALLEST_ACCURACY),
            probing_exhibits.lda_scatter(probes),
        ],
        tables=[
            probing_exhibits.layers(cell, probes),
            probing_exhibits.mistakes(cell, probes),
            probing_exhibits.last_tokens(probes),
            probing_exhibits.released(probes),
        ],
        controls=[probing_exhibits.controls(cell, probes)],
        per_sample=probes.by_rephrasing(task),
        samples=probes.rephrasings.texts,
    )
