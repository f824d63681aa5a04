"""Decisions and compared cells as lines of text: pytest's messages, and `diff` in a terminal."""

from ivevidence.figures.svg import visible_text
from ivevidence.figures.text import threshold_text
from ivevidence.records.cells import CellRecord, Criterion, Decision, Drift, Expectation
from ivevidence.report.comparison import CAUSES, mark


def comparison_lines(cell: CellRecord, before: Decision | None = None) -> list[str]:
    """Return what a cell was and is, and how far its values moved.

    `before` is the decision that its expectation was made of, where that is known. A verdict that
    changed comes with all drifts, another one with those that were too large. Names and reasons are
    data: no line has control characters, and none is two.
    """
    comparison = cell.comparison
    if comparison is None or comparison.expectation is None:
        return decision_lines(cell.decision)
    entry = comparison.expectation
    changed = entry.verdict != cell.decision.verdict
    was, *numbers = decision_lines(before) if before else _expectation_lines(entry)
    lines = [
        f"{mark(cell)}: {change_text(cell)} [{comparison.baseline}]",
        *([CAUSES[comparison.change]] if comparison.change else []),
        *([f"as {comparison.follows} changed"] if comparison.follows else []),
        f"before, of {comparison.checkpoint}: {was}",
        *numbers,
    ]
    first, *rest = decision_lines(cell.decision)
    moved = [d for d in comparison.drifts if changed or d.name in comparison.drifted]
    return [*map(visible_text, lines), f"now {first}", *rest, *map(_drift_line, moved)]


def change_text(cell: CellRecord) -> str:
    """Return the verdict that a cell had and the one that it has."""
    entry, now = cell.comparison and cell.comparison.expectation, cell.decision.verdict
    return f"{entry.verdict} -> {now}" if entry and entry.verdict != now else f"still {now}"


def decision_lines(decision: Decision) -> list[str]:
    """Return a verdict with its reason, what it is on, and a line for each criterion."""
    lines = [f"{decision.verdict}: {decision.reason}"]
    lines += [f"  judged on: {decision.chosen}"] if decision.chosen else []
    return [visible_text(line) for line in (*lines, *map(_criterion_line, decision.criteria))]


def _expectation_lines(entry: Expectation) -> list[str]:
    numbers = f"  {entry.criterion}={_numbers(entry)} (n={entry.n})"
    return [entry.verdict, *([] if entry.criterion is None else [numbers])]


def _criterion_line(criterion: Criterion) -> str:
    test = "" if criterion.p_value is None else f", p={criterion.p_value:.2g}"
    threshold = threshold_text(_number(criterion.threshold), criterion.side)
    return (
        f"  {criterion.name}={_numbers(criterion)} against {threshold} "
        f"(n={criterion.n}{test}): {criterion.outcome}"
    )


def _drift_line(drift: Drift) -> str:
    how = f"paired, n={drift.n[1]}" if drift.paired else f"unpaired, n={drift.n[0]}, {drift.n[1]}"
    return visible_text(f"  drift of {drift.name}={_numbers(drift)} ({how})")


def _numbers(found: Criterion | Expectation | Drift) -> str:
    return f"{_number(found.estimate)} [{_number(found.low)}, {_number(found.high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
