"""Histories as text for a terminal: a table a claim, checkpoints across."""

from collections.abc import Sequence

from ivevidence.compare.history import ClaimHistory
from ivevidence.figures.text import GLYPHS, format_number
from ivevidence.records.cells import CellRecord, Criterion
from ivevidence.report.terminal import aligned, painted, width

_LONGEST = 24
_GAP = 2


def history_text(histories: Sequence[ClaimHistory], *, columns: int, color: bool = False) -> str:
    """Return a table a claim: rows tasks (and metrics), columns checkpoints, folded at `columns`.

    An entry is the verdict's sign and the estimate of the criterion that is followed.
    """
    lines: list[str] = []
    for history in histories:
        lines += [painted(history.claim.name, "bold", color=color), *_tables(history, columns), ""]
    if not histories:
        return "No cell was judged."
    return "\n".join([*lines, ", ".join(f"{g} {v.replace('_', ' ')}" for v, g in GLYPHS.items())])


def _tables(history: ClaimHistory, columns: int) -> list[str]:
    """As many tables as it takes to keep to `columns`; at least one checkpoint each."""
    names = ["", *(trace.name for trace in history.traces)]
    across = [
        [_shortened(label), *(_entry(t.cells[k], t.criteria[k]) for t in history.traces)]
        for k, label in enumerate(history.labels)
    ]
    blocks: list[list[list[str]]] = []
    left = max(map(width, names)) + _GAP
    room = 0
    for column in across:
        needed = max(map(width, column)) + _GAP
        if needed > room:
            blocks.append([names])
            room = columns - left - _GAP
        blocks[-1].append(column)
        room -= needed
    return [line for block in blocks for line in aligned(list(zip(*block, strict=True)), indent=2)]


def _entry(cell: CellRecord | None, criterion: Criterion | None) -> str:
    if cell is None:
        return ""
    estimate = f" {format_number(criterion.estimate)}" if criterion else ""
    return GLYPHS[cell.decision.verdict] + estimate


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[:9]}…{label[10 - _LONGEST :]}"
