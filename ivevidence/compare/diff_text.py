"""The difference of two runs as text for a terminal."""

from ivevidence.compare.differences import CellDifference, RunDifference
from ivevidence.figures.text import NO_VALUE, format_number
from ivevidence.records.cells import UNDRIFTED, CellError, CellRecord
from ivevidence.records.rows import ClaimRow
from ivevidence.records.settings import apart
from ivevidence.report.row_text import holds_text
from ivevidence.report.run import count
from ivevidence.report.tables import bounds
from ivevidence.report.terminal import aligned, criterion_entries, painted, verdict_text

_LONGEST = 48
_MOST_NAMES = 8
_STYLES = {"changed": "red", UNDRIFTED: "yellow", "drifted": "yellow"}
TITLES = {
    "changed": "Verdicts that changed",
    UNDRIFTED: "Verdicts that changed without a drift beyond chance",
    "drifted": "Same verdict, but values drifted",
}


def diff_text(difference: RunDifference, runs: tuple[str, str], *, color: bool = False) -> str:
    """Return what changed, what drifted, what is only in one run, and the counts, line by line.

    `runs` are the names of the run before and of the run after; `color` paints the headings.
    """
    lines = aligned([("A", runs[0]), ("B", runs[1])])
    lines += aligned([(line,) for line in warnings(difference)])
    lines += _rows(difference)
    lines += _settings(difference)
    if any(cell.drifts for cell in difference.cells):
        tested = count(sum(len(cell.drifts) for cell in difference.cells), "drift")
        lines += ["", f"Δ: mean of B less mean of A, 95 % bounds, p by Holm over {tested}"]
    for kind, title in TITLES.items():
        cells = difference.of_kind(kind)
        if cells:
            lines += ["", painted(f"{title}: {len(cells)}", _STYLES[kind], color=color)]
            lines += _cells(cells)
    for letter, only in zip("AB", (difference.only_before, difference.only_after), strict=True):
        lines += _only(f"Only in {letter}", only)
    for letter, errors in zip("AB", difference.errors, strict=True):
        lines += _errors(f"Could not be judged in {letter}", errors)
    return "\n".join([*lines, "", counts_text(difference)])


def counts_text(difference: RunDifference) -> str:
    """Return the counts in one line."""
    counts = [f"{number} {kind}" for kind, number in difference.counts.items()]
    counts += [
        f"{len(difference.only_before)} only in A",
        f"{len(difference.only_after)} only in B",
    ]
    failed = sum(map(len, difference.errors))
    return ", ".join(counts + [count(failed, "error")] * bool(failed))


def warnings(difference: RunDifference) -> list[str]:
    """Return what is to be known before the cells are read, a sentence each."""
    said = [
        f"{letter} was interrupted: cells are left out."
        for letter, stopped in zip("AB", difference.stopped, strict=True)
        if stopped
    ]
    if difference.replaced:
        said.append("{1} in B is held against {0} in A.".format(*difference.replaced))
    return said


def drift_entries(cell: CellDifference) -> list[list[str]]:
    """Return a row of entries a drift: how far, how sure, which test; all of a changed cell's."""
    return [
        [
            drift.name,
            f"{format_number(drift.estimate)} {bounds(drift.low, drift.high)}",
            f"p {format_number(p_value)}",
            drift_test(drift.n, paired=drift.paired),
        ]
        for drift, p_value in zip(cell.drifts, cell.adjusted, strict=True)
        if is_changed(cell) or drift.name in cell.drifted
    ]


def is_changed(cell: CellDifference) -> bool:
    """Return whether the verdict is another one, by chance or not."""
    return cell.before.decision.verdict != cell.after.decision.verdict


def drift_test(n: tuple[int, int], *, paired: bool) -> str:
    """Return which test a drift was put to, and on how many values."""
    return f"paired, n {n[0]}" if paired else f"unpaired, n {n[0]} and {n[1]}"


def cell_entries(before: CellRecord, after: CellRecord) -> list[str]:
    """Return claim, checkpoint (both where one took the other's place), task and metric."""
    same = before.checkpoint == after.checkpoint
    checkpoint = after.checkpoint if same else f"{before.checkpoint} → {after.checkpoint}"
    return [after.claim.name, checkpoint, after.task, after.metric or ""]


def row_entries(row: ClaimRow | None) -> tuple[str, str]:
    """Return in how many cells a claim holds in one run, and the verdict on its sentence."""
    if row is None:
        return NO_VALUE, NO_VALUE
    return holds_text(row), verdict_text(row.verdict) if row.verdict else NO_VALUE


def _rows(difference: RunDifference) -> list[str]:
    rows = [
        (name, *row_entries(before), "|", *row_entries(after))
        for name, (before, after) in difference.paired_rows.items()
    ]
    if not rows:
        return []
    return ["", "Claims, over all cells of each run (A | B):", *aligned(rows, indent=2)]


def _settings(difference: RunDifference) -> list[str]:
    if not difference.settings:
        return []
    total = len(difference.cells)
    rows = []
    for setting in difference.settings:
        first, second = apart(setting.before, setting.after, _LONGEST)
        of = "all cells" if len(setting.cells) == total else count(len(setting.cells), "cell")
        rows.append((setting.name, first, "|", second, f"({of})"))
    return ["", "Settings that differ (A | B):", *aligned(rows, indent=2)]


def _cells(cells: list[CellDifference]) -> list[str]:
    heads = aligned(
        [[*cell_entries(cell.before, cell.after), _verdicts(cell)] for cell in cells], indent=2
    )
    lines = []
    for head, cell in zip(heads, cells, strict=True):
        both = (cell.before.decision, cell.after.decision)
        leading = [decision.criteria[0] if decision.criteria else None for decision in both]
        rows = [
            [letter, *(criterion_entries(criterion) if criterion else [decision.reason])]
            for letter, criterion, decision in zip("AB", leading, both, strict=True)
        ]
        rows += [["Δ", *entries] for entries in drift_entries(cell)]
        lines += [head, *aligned(rows, indent=6), *_differs(cell)]
    return lines


def _verdicts(cell: CellDifference) -> str:
    before, after = (verdict_text(c.decision.verdict) for c in (cell.before, cell.after))
    return f"{before} → {after}" if is_changed(cell) else after


def _differs(cell: CellDifference) -> list[str]:
    names = [setting.name for setting in cell.settings]
    more = len(names) - _MOST_NAMES
    said = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return aligned([("settings that differ:", said)], indent=6) if names else []


def _only(title: str, cells: tuple[CellRecord, ...]) -> list[str]:
    if not cells:
        return []
    rows = [[*cell_entries(cell, cell), verdict_text(cell.decision.verdict)] for cell in cells]
    return ["", f"{title}: {len(cells)}", *aligned(rows, indent=2)]


def _errors(title: str, errors: tuple[CellError, ...]) -> list[str]:
    if not errors:
        return []
    rows = [(error.cell, (error.message or NO_VALUE).splitlines()[0]) for error in errors]
    return ["", f"{title}: {len(errors)}", *aligned(rows, indent=2)]
