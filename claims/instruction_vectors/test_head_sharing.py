"""Head sharing (section 6.1): contrastive tasks share early heads and differ in late ones."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from claims.instruction_vectors import head_exhibits, needs
from claims.instruction_vectors.gates import COMPETENCE
from claims.instruction_vectors.head_exhibits import TaskPaths
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.path_views import activity
from ivevidence.records.cells import Decision
from ivfixtures.suite.asked import Asked, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import judge
from ivmethods.paths.heads import ACTIVE, samples_to_tell_idle, with_paths
from ivmethods.paths.results import Tracing
from ivmethods.paths.sharing import activities_compared, sharing

SMALLEST_DIFFERENCE = 0.10
DIFFERENCE = Asked("chance-corrected Jaccard, first fifth - last third", SMALLEST_DIFFERENCE)

CLAIM = PAPER.claim(
    "head_sharing",
    level="L1",  # paths and activities are a decomposition of what runs anyway
    title="Contrastive tasks share their active heads in early layers, not in late ones",
    section="6.1",
    quote="Overall, we observe that instruction vectors corresponding to different tasks are "
    "constructed in the early layers using nearly identical, instruction-agnostic circuits "
    "(similar head activity), followed by task-specific circuits that are conditioned by the "
    "instruction vector (different head activity).",
    estimand=f"The Jaccard similarity between the heads that are active at T_inst in a task and in "
    f"its contrast (mean activity above {ACTIVE}), chance-corrected: 1 for equal sets, 0 on "
    f"average for random sets of the same sizes. Estimated is that of the first fifth of the "
    f"layers minus that of the last third.",
    rule=f"The claim is {supported_if(DIFFERENCE)}, {refuted_if(DIFFERENCE)}, inconclusive "
    f"otherwise. An activity that the samples cannot tell from {ACTIVE} (one-sided test for means "
    f"of bounded quantities, 5 % divided by the number of activities: those of the heads of both "
    f"groups in both tasks) may be on either side of it: the bounds are the smallest and the "
    f"largest difference over all sides of all such activities. Only samples with a high-ranking "
    f"path in both tasks count. Inconclusive with fewer than it takes to tell a head that is on no "
    f"path at all from {ACTIVE} (59 for 6 layers of 4 heads, 83 for 16 of 16), and where the "
    f"correction is undefined: all heads of a group are active in both tasks, or none is.",
    thresholds={"active": ACTIVE, "smallest difference": SMALLEST_DIFFERENCE},
    quantifier="most",  # "Overall": a trend that exceptions do not undo
)


def decide(
    *,
    own: Float[np.ndarray, "sample layer head"],
    contrast: Float[np.ndarray, "sample layer head"],
) -> Decision:
    """The verdict on two tasks' head activities at T_inst over the same queries, as CLAIM.rule.

    A sample with NaN (no high-ranking path) in one task is dropped from both.

    Deviation: the paper shows no uncertainty. No bootstrap over samples: that finds a difference
    where there is none if heads of the last third are close to the threshold; see `sharing`.
    """
    n = int(with_paths(own, contrast).sum())
    tests = activities_compared(own.shape[1:])
    if n < (least := samples_to_tell_idle(tests)):
        reason = (
            f"{n} of {len(own)} samples have a high-ranking path from T_inst in both tasks, but "
            f"should be at least {least} to tell an idle head from {ACTIVE} among {tests} "
            "activities"
        )
        needed = math.ceil(least * len(own) / n) if n else None
        return Decision("inconclusive", reason, (), needed)
    found = sharing(own, contrast)
    for group, value in zip(("first fifth", "last third"), found.corrected, strict=True):
        if math.isnan(value):
            reason = (
                f"of the {group} of the layers, all heads are active in both tasks or none is in "
                "either: nothing to hold against chance"
            )
            return Decision("inconclusive", reason, (), None)
    early, late = found.corrected
    difference = DIFFERENCE.criterion(
        f"{early:.3g} - {late:.3g}; over the sides of {found.undecided} of {tests} activities that "
        f"cannot be told from {ACTIVE}",
        found.difference,
    )
    return judge([difference], samples=len(own))


@claim(CLAIM, on=Instructed("pair"), gates=(COMPETENCE,), needs={"paths": needs.paths_by_k})
def test_head_sharing(cell: Cell, paths: tuple[Mapping[int, Tracing], ...]) -> None:
    """Contrastive tasks share their active heads in early layers, not in late ones."""
    k = cell.settings.path_k[0]
    own, contrast = map(TaskPaths, cell.parts, paths)
    shares = [activity(task.by_k[k], task.t_inst) for task in (own, contrast)]
    decision = decide(own=shares[0], contrast=shares[1])
    measured = {
        task.data.name: head_exhibits.measured_activity(task.by_k[k], task.t_inst, seed=cell.seed)
        for task in (own, contrast)
    }
    cell.conclude(
        decision,
        figures=[head_exhibits.head_maps(measured, f"Head activity at T_inst, k = {k}")],
        tables=[
            head_exhibits.sharing_by_place(own, contrast),
            *head_exhibits.published_sharing(own, contrast),
            *(
                table(task)
                for task in (own, contrast)
                for table in (
                    head_exhibits.agreement_between_k,
                    head_exhibits.correlation_between_k,
                )
            ),
        ],
        controls=[
            head_exhibits.strongest_heads(each, f"Heads of {name} against drawn paths")
            for name, each in measured.items()
            if each is not None
        ],
    )
