"""What a run says in the terminal when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ivevidence import VERDICTS, CellRecord
from ivevidence.figures.svg import visible_text
from ivevidence.records.cells import UNDRIFTED
from ivevidence.records.rows import claim_rows
from ivevidence.report.comparison import MARKS, mark
from ivevidence.report.comparison_text import change_text
from ivevidence.report.row_text import row_lines
from ivfixtures.suite.verdicts import PASSED_OVER

if TYPE_CHECKING:
    from ivfixtures.suite.expectations import Expecting
    from ivfixtures.suite.run import Run

MOST_NAMED = 20


def summarize(run: Run, line: Callable[..., Any], heading: Callable[[str, str], Any]) -> None:
    """Write verdict counts, rows of claims, changes, what was measured, and where files are."""
    heading("=", "claims")
    line = _visible(line)
    counts = Counter(record.decision.verdict for record in run.cells)
    line(", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]))
    if planted := sum(record.planted is not None for record in run.cells):
        line(f"{planted} of these are of planted subjects; look-alikes should not be supported")
    for text in row_lines(claim_rows(run.cells), indent=2):
        line(text)
    _expected(run, line)
    if run.errors:
        line(f"{len(run.errors)} cells could not be judged (errors are not verdicts)", red=True)
    if lacking := run.planned - len(run.records) - len(run.errors):
        line(
            f"interrupted: {lacking} of {run.planned} cells were not judged; the same command goes "
            "on",
            red=True,
        )
    if passed := sum(PASSED_OVER in " ".join(record.notes) for record in run.cells):
        line(f"cells that went past a gate (--measure-anyway): {passed}; their notes say which")
    if not run.judged:
        line("no cell was judged: the run fails", red=True)
    if run.measured or run.reused:
        again = f"{run.measured} measured, " if run.measured else "nothing measured again, "
        line(f"measurements: {again}{run.reused} reused from {run.store.place}")
    outputs = run.outputs
    for path, reason in outputs.unwritten.items():
        line(f"not written: {path} ({reason}); when that is mended, run again", red=True)
    for name in ("evidence", "expectations", "report"):
        path = getattr(outputs, name)
        if path and str(path) in outputs.written:
            line(f"{name}: {path}")


def _visible(line: Callable[..., Any]) -> Callable[..., Any]:
    """The same without control characters: names of checkpoints and entries are data."""
    return lambda text, **markup: line(visible_text(text), **markup)


def _expected(run: Run, line: Callable[..., Any]) -> None:
    expecting = run.conclusions.expecting
    if expecting is None:
        return
    kinds: dict[str | None, list[str]] = {kind: [] for kind in MARKS if kind != "as expected"}
    for record in run.cells:
        kind = mark(record)
        kinds.setdefault(kind, []).append(_named(record, kind))
    kinds["missing"] = run.missing
    place = next((text for text in map(_place, run.cells) if text), "")
    line(
        f"expectations of {expecting.path}{place}: "
        + ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items() if found)
    )
    kinds.pop("as expected", None)
    if expecting.max_drift is not None and not any(map(_drifts, run.cells)):
        line("--max-drift: the store has no values of these expectations, so nothing was compared")
    for kind, found in kinds.items():
        for text in found[:MOST_NAMED]:
            line(f"  {kind}: {text}", yellow=kind == UNDRIFTED)
        if len(found) > MOST_NAMED:
            line(f"  {kind}: {len(found) - MOST_NAMED} more, in the report")
    if unseen := _unseen(run.cells, expecting):
        line(unseen)
    if run.missing and not expecting.allow_missing:
        line("entries without a cell: the run fails (--expect-missing allows them)", red=True)


def _unseen(cells: Sequence[CellRecord], expecting: Expecting) -> str | None:
    """How far IA may fall without this run seeing it, where it is judged at all."""
    from ivfixtures.suite.unseen import by_drift, by_verdict

    judged = [c for c in cells if c.decision.criteria and c.decision.criteria[0].name == "IA"]
    if not judged:
        return None
    cell = min(judged, key=lambda each: each.decision.criteria[0].n)
    n, limit, moved = cell.decision.criteria[0].n, expecting.max_drift, cell.comparison
    seen = None
    if limit is not None and moved and moved.drifts:
        # Where workers collect, only they know of cells that were not selected.
        count = len(moved.drifts) * (expecting.baseline.compared or len(cells))
        seen = by_drift(n, comparisons=count, max_drift=limit)
    how = f"of less than {seen:.2f}" if seen else f"by {by_verdict(n):.2f}"
    return f"with {n} samples, a fall of IA from 1 {how} goes unseen (docs/expectations.md)"


def _drifts(record: CellRecord) -> bool:
    return bool(record.comparison and record.comparison.drifts)


def _place(record: CellRecord) -> str:
    """Whose entry the cell is held to, where it is another checkpoint's."""
    other = record.comparison.checkpoint if record.comparison else None
    replaced = other is not None and other != record.checkpoint
    return f" ({record.checkpoint} in the place of {other})" if replaced else ""


def _named(record: CellRecord, kind: str | None) -> str:
    """The cell as it is listed under a kind."""
    comparison, verdict = record.comparison, record.decision.verdict
    if kind in ("changed", UNDRIFTED):
        return f"{record.cell_id}: {change_text(record)}"
    if comparison and comparison.follows:
        return f"{record.cell_id}: {verdict}, as {comparison.follows} changed"
    if kind == "drifted" and comparison:
        return f"{record.cell_id}: {', '.join(comparison.drifted)}"
    return f"{record.cell_id}: {verdict}"
