"""Behaviour (section 3, appendix C): checkpoints follow the instructions of the tasks."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from claims.instruction_vectors import behaviour_exhibits
from claims.instruction_vectors.needs import every_behaviour
from claims.instruction_vectors.paper import PAPER
from ivevidence.records.cells import Decision
from ivfixtures.data.instructed import behaviour
from ivfixtures.suite.asked import Asked, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
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


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("ia",),
    needs={"answers": behaviour, "every": every_behaviour},
)
def test_behaviour(cell: Cell, answers: Sequence[str], every: Mapping[str, Sequence[str]]) -> None:
    """The checkpoint follows the task's instruction.

    No gate of competence: this is the gate.
    """
    data = cell.data
    judged, stated = data.judged(answers), data.valid(answers)
    valid, exact = judged.valid if judged else stated, data.exact(answers)
    cell.conclude(
        decide(valid),
        figures=[behaviour_exhibits.by_task(data, every, judged, SMALLEST_ACCURACY)],
        tables=[
            *(behaviour_exhibits.judge_and_set(data, answers, judged) if judged else ()),
            behaviour_exhibits.counts(exact, stated),
            behaviour_exhibits.not_right(data, answers),
        ],
        per_sample={"valid": valid.astype(float), "right": exact.astype(float)},
    )
