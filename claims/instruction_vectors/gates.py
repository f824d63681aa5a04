"""Gates of this pack's claims: what has to hold before a cell is measured further."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from claims.instruction_vectors import patching_exhibits, probing
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.settings import Settings
from claims.instruction_vectors.views import gap_of
from ivevidence import Decision
from ivevidence.records.cells import cell_id, cell_name
from ivfixtures.data.instructed import InstructedData, behaviour
from ivfixtures.measuring.inquiry import Closed, Gate
from ivfixtures.suite.rules import COMPETENT, no_headroom
from ivmethods.model.methods import Runs
from ivmethods.statistics.univariate import clopper_pearson


def _not_applicable(reason: str) -> Closed:
    return Closed(Decision("not_applicable", reason))


def _competence(data: InstructedData, settings: Settings, answers: Sequence[str]) -> Closed | None:
    judged = data.judged(answers)
    share = clopper_pearson(judged.valid if judged else data.valid(answers))
    if share.low > COMPETENT:
        return None
    at = (data.checkpoint.name, data.name)
    reason = (
        f"{at[0]} does not follow the instruction of {at[1]}: IA={share.estimate:.2f} (lower bound "
        f"{share.low:.2f}, n={share.n}), but should be above {COMPETENT}"
    )
    gate = cell_id(cell_name(f"{PAPER.name}/behaviour", *at, "ia"))
    advice = "--measure-anyway measures all the same"
    return Closed(Decision("not_applicable", reason, gate=gate), advice)


def _headroom(
    data: InstructedData, settings: Settings, runs: Mapping[str, np.ndarray], *, smallest: float
) -> Closed | None:
    gap = gap_of(runs, "rr")
    if decision := no_headroom(gap, smallest):
        # The values that its verdict rests on, for a later run to compare.
        return Closed(decision, tables=[patching_exhibits.runs(runs)], per_sample={"gap": gap})
    return None


def _rephrasings(data: InstructedData, settings: Settings) -> Closed | None:
    reason = probing.lacking(data)
    return _not_applicable(reason) if reason else None


def _weights_here(data: InstructedData, settings: Settings) -> Closed | None:
    if not data.checkpoint.remote:
        return None
    return _not_applicable(
        "a copy with random weights cannot be run on NDIF: judge the lead without --remote"
    )


def _contrast(data: InstructedData, settings: Settings) -> Closed | None:
    if data.task.contrast is not None:
        return None
    return _not_applicable(f"{data.name} has no contrast instruction to compare with")


def _order(data: InstructedData, settings: Settings, *, least: int) -> Closed | None:
    if settings.order >= least:
        return None
    names = ",".join(str(order) for order in range(1, least + 1))
    return _not_applicable(
        f"tuples of {least} layers were not patched: --set {PAPER.name}.orders={names}"
    )


# Source: section 3, "Confirming Instruction Following Ability"; IA > 0.5.
COMPETENCE = Gate("competence", _competence, {"answers": behaviour}, passable=True)
REPHRASINGS = Gate("rephrasings", _rephrasings)
WEIGHTS_HERE = Gate("weights", _weights_here)
CONTRAST = Gate("contrast", _contrast)


def headroom(smallest: float) -> Gate:
    """Whether there is something to restore, before any sweep."""
    return Gate("headroom", partial(_headroom, smallest=smallest), {"runs": Runs()}, passable=True)


def order(least: int) -> Gate:
    """Whether tuples of that many layers are patched."""
    return Gate("order", partial(_order, least=least))
