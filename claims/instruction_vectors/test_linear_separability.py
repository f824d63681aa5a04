"""Linear separability (section 5.1): T_inst residuals of rephrasings tell which task they are."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import count

import numpy as np

from claims.instruction_vectors import probing, probing_exhibits
from claims.instruction_vectors.gates import REPHRASINGS, WEIGHTS_HERE
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.probing import Probes
from ivevidence.records.cells import Decision
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import judge
from ivmethods.method import Result
from ivmethods.probes.held_out import OneAgainstRest, Probe, accuracy, lead
from ivmethods.probes.methods import FOLDS

SMALLEST_ACCURACY = 0.98
SMALLEST_LEAD = 0.10
CONTROLS = ("bag of words", "layer-0 input", "shuffled labels", "random weights")
ACCURACY = Asked("accuracy", SMALLEST_ACCURACY)
LEADS = all_of(*(Asked(f"lead over {name}", SMALLEST_LEAD) for name in CONTROLS))

CLAIM = PAPER.claim(
    "linear_separability",
    level="L1",  # a probe reads the residuals and changes none
    title="T_inst residuals of rephrased instructions are linearly separable by task",
    section="5.1",
    quote="We find that our linear probe has high accuracy for all task clusters (98%<<). This "
    "implies that the instruction vectors do form linearly separable clusters, but potentially at "
    "a high dimension that was not captured by our dimensionality reduction method.",
    estimand="Metric accuracy: with what accuracy a linear probe tells a task's rephrasings from "
    "those of all other tasks, on instructions that it was not fitted on: half the share of the "
    "task's own that are recognized and half the share of the others that are kept apart (chance: "
    "0.5). The probe is one multinomial logistic regression for all tasks, at the layer that does "
    f"best on other folds ({FOLDS} folds, no instruction in two of them). Metric lead: its "
    "accuracy minus that of the same regression on the bag of words, on the layer-0 input, with "
    "shuffled labels, and on a copy of the checkpoint with random weights: high accuracy that "
    "these reach, too, is that of the wording.",
    rule=f"At most {probing.MOST_REPHRASINGS} rephrasings a task. Metric accuracy: with bounds "
    f"that are exact for independent instructions, {supported_if(ACCURACY)}, "
    f"{refuted_if(ACCURACY)}, inconclusive otherwise; too few rephrasings for a probe without a "
    "mistake to be supported (below 122 of each of four "
    f"tasks, 183 of each of two) are told. Metric lead: {supported_if(*LEADS)}; inconclusive "
    "without room, where a control does so well that not even a probe without a mistake could be "
    "shown to lead it by that much; of the controls that leave room, "
    f"{refuted_if(*LEADS)}. Where rephrasings of the task and of others have "
    "equal bags of words, the lead over the bag of words is that on these.",
    thresholds={
        "smallest accuracy": SMALLEST_ACCURACY,
        "smallest lead over each control": SMALLEST_LEAD,
    },
    quantifier="all",  # "for all task clusters"
    by_metric=True,  # the lead asks what that accuracy is worth
)


def decide_accuracy(found: OneAgainstRest, *, ways: int = 1) -> Decision:
    """The verdict on one task's held-out predictions, as CLAIM.rule says of accuracy.

    ways: to be refuted, where this is one decision of several.
    """
    (asked,) = all_of(ACCURACY, times=ways)
    own, others = len(found.own), len(found.others)
    share = asked.criterion(
        "balanced accuracy on held-out rephrasings", accuracy(found, **asked.alphas)
    )
    decision = judge([share], samples=own + others)
    if decision.verdict == "inconclusive" and not _can_support(own, others):
        least = next(n for n in count(own) if _can_support(n, n * others // own))
        reason = (
            f"too few rephrasings: {own} of the task and {others} of others, but should be at "
            f"least {least} and {least * others // own} for a probe without a mistake to be "
            f"supported; {decision.reason}"
        )
        return replace(decision, reason=reason)
    return decision


def decide_lead(leads: Mapping[str, tuple[OneAgainstRest, OneAgainstRest]]) -> Decision:
    """The verdict on the probe and each control on the same rephrasings, as CLAIM.rule says."""
    criteria, full, is_short = [], [], False
    for name, asked in zip(CONTROLS, LEADS, strict=True):
        found, control = leads[name]
        perfect = _perfect(len(found.own), len(found.others))
        has_room = lead(perfect, control).low > SMALLEST_LEAD
        criteria.append(
            asked.criterion(
                f"balanced accuracy {found.accuracy:.3f} minus {control.accuracy:.3f}, that of the "
                f"{name} on the same rephrasings",
                lead(found, control, **asked.alphas),
            )
        )
        if not has_room:
            full.append(f"{name} ({control.accuracy:.3f} on {lead(perfect, control).n})")
            criteria[-1] = replace(criteria[-1], level=None)  # it does not refute
        elif criteria[-1].outcome == "short":
            is_short = True
    if full and not is_short:
        reason = (
            f"no room above {' and '.join(full)}: not even a probe without a mistake could be "
            f"shown to lead by more than {SMALLEST_LEAD}, so the accuracy may come from the "
            "wording alone"
        )
        return Decision("inconclusive", reason, tuple(criteria), None)
    return judge(criteria, samples=criteria[0].n)


def _perfect(own: int, others: int) -> OneAgainstRest:
    return OneAgainstRest(np.ones(own, dtype=bool), np.ones(others, dtype=bool))


@cache
def _can_support(own: int, others: int) -> bool:
    """Whether that many rephrasings are enough for a probe that makes no mistake."""
    return accuracy(_perfect(own, others)).low > SMALLEST_ACCURACY


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("accuracy",),
    gates=(REPHRASINGS,),
    needs={"probes": probing.probes},
)
def test_accuracy(cell: Cell, probes: Result) -> None:
    """T_inst residuals of rephrased instructions are linearly separable by task.

    No gate of competence: the paper finds it in base checkpoints, too.
    """
    view = Probes.of_result(cell.data, probes)
    decision = decide_accuracy(view.against_rest(cell.data.name))
    _conclude(cell, view, decision, dict(view.controls(cell.data.name)))


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("lead",),
    gates=(REPHRASINGS, WEIGHTS_HERE),
    needs={"probes": probing.probes, "copy": probing.random_probe},
)
def test_lead(cell: Cell, probes: Result, copy: Probe) -> None:
    """They are more separable than the wording, the layer-0 input and random weights make them."""
    view, task = Probes.of_result(cell.data, probes), cell.data.name
    leads = view.leads(task, copy)
    controls = {**view.controls(task), "random weights": leads["random weights"][1]}
    _conclude(cell, view, decide_lead(leads), controls, copy)


def _conclude(
    cell: Cell,
    view: Probes,
    decision: Decision,
    controls: Mapping[str, OneAgainstRest],
    copy: Probe | None = None,
) -> None:
    task = cell.data.name
    cell.conclude(
        decision,
        chosen=view.chosen_text,
        figures=[
            probing_exhibits.accuracy_by_layer(task, view, SMALLEST_ACCURACY, copy),
            probing_exhibits.lda_scatter(view),
        ],
        tables=[
            probing_exhibits.layers(task, view),
            probing_exhibits.mistakes(task, view),
            probing_exhibits.last_tokens(view),
            probing_exhibits.released(view),
        ],
        controls=[probing_exhibits.controls(view.against_rest(task), controls)],
        per_sample=view.by_rephrasing(task),
        samples=view.rephrasings.texts,
    )
