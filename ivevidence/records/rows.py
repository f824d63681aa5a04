"""Rows: in how many of the cells of a run a claim holds, and what that says of its sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ivevidence.compare.drifts import ALPHA
from ivevidence.records.cells import CellRecord, Decision, Level, Quantifier, Verdict
from ivevidence.records.codec import Count, Record

# A claim that is refuted in one metric does not hold, whatever the others say; and so on.
_JOINED = ("refuted", "not_applicable", "inconclusive", "supported")


class ClaimRow(Record):
    """A claim over the cells of a run (of one metric, where each metric is a question of its own).

    A cell here is a checkpoint (pair of tasks, family) and task, its metrics joined. `applicable`:
    cells that the claim was put to the test on, `not_applicable`: the others. `supported`,
    `refuted`: how many are, each cell for itself. `least`, `most`: bounds of how many of the
    applicable ones it holds on, each missed with a chance of 5 %. `verdict`: on the sentence, by
    its `quantifier`; None where the claim states none. `planted_true`, `planted_false`: of cells
    planted so that it holds or fails how many are supported, and how many there are.
    `planted_other`: cells of subjects that were made for other claims. None of these is in any
    other number; a row of nothing else has no verdict. `level`: of the claim's evidence.
    """

    claim: str
    title: str
    metric: str | None
    quantifier: Quantifier | None
    applicable: Count
    not_applicable: Count
    supported: Count
    refuted: Count
    least: Count
    most: Count
    verdict: Verdict | None
    planted_true: tuple[Count, Count] = (0, 0)
    planted_false: tuple[Count, Count] = (0, 0)
    planted_other: Count = 0
    paper: str = ""
    level: Level | None = None

    @property
    def name(self) -> str:
        """The claim, and the metric if it is a question of its own."""
        return self.claim + (f", {self.metric}" if self.metric else "")

    @property
    def pack(self) -> str:
        """The part of the claim's name that its paper's other claims share."""
        return self.claim.rpartition("/")[0]


@dataclass(frozen=True)
class _Joined:
    """The cells of one subject and task: their verdict, and its p-value where that is decided."""

    verdict: str
    p_value: float
    planted: str | None


def claim_rows(cells: Iterable[CellRecord]) -> tuple[ClaimRow, ...]:
    """Return the rows of all claims, in the order of the cells.

    The p-value of a supported cell is the largest level of its criteria (all must be beyond), that
    of a refuted one the smallest of those short (they share the alpha), times the metrics joined.
    Criteria without a level count as 5 %. Holm's method over the applicable cells then says how
    many are supported, and how many refuted, with 5 % error in all, however the cells depend.
    A cell about the whole of the others is what the row is, and not in it.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65.
    """
    rows: dict[tuple[str, str | None], dict[tuple[str, str], list[CellRecord]]] = {}
    for cell in cells:
        if not cell.is_whole:
            name = (cell.claim.name, cell.metric if cell.claim.by_metric else None)
            rows.setdefault(name, {}).setdefault((cell.checkpoint, cell.task), []).append(cell)
    return tuple(_row(name[1], list(groups.values())) for name, groups in rows.items())


def sentence_verdict(quantifier: str, least: int, most: int, cells: int) -> str:
    """The verdict on a sentence about `cells` cells, of which it holds on `least` to `most`."""
    needed = {"all": cells, "most": cells // 2 + 1, "exists": 1}[quantifier]
    if least >= needed:
        return "supported"
    return "refuted" if most < needed else "inconclusive"


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values by Holm's step-down adjustment, in the order given."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(np.array(p_values)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(p_value) for p_value in adjusted]


def _row(metric: str | None, groups: Sequence[Sequence[CellRecord]]) -> ClaimRow:
    claim, joined = groups[0][0].claim, list(map(_join, groups))
    own = [cell for cell in joined if cell.planted is None]
    applicable = [cell for cell in own if cell.verdict != "not_applicable"]
    holds = _certain(applicable, "supported")
    fails = _certain(applicable, "refuted")
    least, most, verdict = holds, len(applicable) - fails, None
    if own and 2 * len(applicable) < len(own):
        verdict = "not_applicable"
    elif own and claim.quantifier:
        verdict = sentence_verdict(claim.quantifier, least, most, len(applicable))
    return ClaimRow(
        claim=claim.name,
        title=claim.title,
        metric=metric,
        quantifier=claim.quantifier,
        applicable=len(applicable),
        not_applicable=len(own) - len(applicable),
        supported=_count(own, "supported"),
        refuted=_count(own, "refuted"),
        least=least,
        most=most,
        verdict=verdict,
        planted_true=_planted(joined, "holds"),
        planted_false=_planted(joined, "fails"),
        planted_other=sum(cell.planted == "unknown" for cell in joined),
        paper=claim.paper,
        level=claim.level,
    )


def _join(cells: Sequence[CellRecord]) -> _Joined:
    decisions = [cell.decision for cell in cells]
    verdict = min((d.verdict for d in decisions), key=_JOINED.index)
    levels = [_level(d) for d in decisions if d.verdict == verdict]
    p_value = len(cells) * min(levels) if verdict == "refuted" else max(levels)
    return _Joined(verdict, min(p_value, 1.0), cells[0].planted)


def _level(decision: Decision) -> float:
    """The p-value of a verdict; 1 where nothing is decided."""
    if decision.verdict not in ("supported", "refuted"):
        return 1.0
    is_supported = decision.verdict == "supported"
    outcome = "beyond" if is_supported else "short"
    levels = [
        ALPHA if c.level is None else c.level for c in decision.criteria if c.outcome == outcome
    ]
    return (max if is_supported else min)(levels, default=ALPHA)


def _certain(cells: Sequence[_Joined], verdict: str) -> int:
    """How many cells have the verdict, with 5 % error in all of them together."""
    p_values = [cell.p_value if cell.verdict == verdict else 1.0 for cell in cells]
    return sum(p_value <= ALPHA for p_value in holm(p_values))


def _count(cells: Sequence[_Joined], verdict: str) -> int:
    return sum(cell.verdict == verdict for cell in cells)


def _planted(cells: Sequence[_Joined], truth: str) -> tuple[int, int]:
    """Of the cells planted so, how many are supported, and how many there are."""
    planted = [cell for cell in cells if cell.planted == truth]
    return _count(planted, "supported"), len(planted)
