"""Behaviour (section 3, appendix C): checkpoints follow the instructions of the tasks."""

import numpy as np
import pytest
from jaxtyping import Bool

from claims.instruction_vectors import behaviour_exhibits
from claims.instruction_vectors.paper import PAPER
from ivevidence.records.cells import Decision
from ivfixtures.suite.asked import Asked, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.rules import COMPETENT, judge
from ivmethods.statistics.univariate import clopper_pearson

SMALLEST_ACCURACY = COMPETENT
IA = Asked("IA", SMALLEST_ACCURACY)

CLAIM = PAPER.claim(
    "behaviour",
    level="L0",
    title="The checkpoint follows the task's instruction",
    section="3",
    quote="We find that most models are able to follow instructions for most tasks with a high "
    "degree of accuracy (IA >> 50%, see Figure 20 in Appendix C).",
    estimand="Instructional accuracy (IA): the share of the task's prompts on which the greedy "
    "answer is a valid response, right or wrong. With --judge, a model decides what is valid where "
    "the task says in words what a response should be (Table 19); otherwise the task's stated set "
    "of responses does.",
    rule=f"With exact bounds (Clopper-Pearson), {supported_if(IA)}, {refuted_if(IA)}, inconclusive "
    f"otherwise. The sentence speaks of most models and most tasks: each cell is one of them.",
    thresholds={"smallest IA": SMALLEST_ACCURACY},
    quantifier="most",  # "most models ... most tasks": most cells
)


def decide(valid: Bool[np.ndarray, " sample"]) -> Decision:
    """The verdict on which answers are valid responses, as CLAIM.rule says."""
    share = IA.criterion("share of samples with a valid response, exact", clopper_pearson(valid))
    return judge([share], samples=len(valid))


@pytest.mark.claim(CLAIM, metrics=("ia",), asks=("behaviour on every task",))
def test_behaviour(cell: Cell) -> None:
    """The checkpoint follows the task's instruction.

    No gate of competence: this is the gate.
    """
    found = cell.judged
    valid = found.valid if found else cell.valid
    cell.conclude(
        decide(valid),
        figures=[behaviour_exhibits.by_task(cell, found, SMALLEST_ACCURACY)],
        tables=[
            *(behaviour_exhibits.judge_and_set(cell, found) if found else ()),
            behaviour_exhibits.counts(cell),
            behaviour_exhibits.not_right(cell),
        ],
        per_sample={"valid": valid.astype(float), "right": cell.exact.astype(float)},
    )
