"""The difference of two runs as text for a terminal."""

from ivevidence.compare.differences import FOLLOWS, CellDifference, RunDifference
from ivevidence.figures.text import NO_VALUE
from ivevidence.records.cells import UNDRIFTED, CellError, CellRecord
from ivevidence.records.rows import ClaimRow
from ivevidence.records.settings import apart
from ivevidence.report.comparison_text import comparison_lines
from ivevidence.report.row_text import holds_text, lines_by_paper
from ivevidence.report.run import count
from ivevidence.report.terminal import aligned, painted, verdict_text

_LONGEST = 48
_MOST_NAMES = 8
_STYLES = {"changed": "red", UNDRIFTED: "yellow", FOLLOWS: "bold", "drifted": "yellow"}
TITLES = {
    "changed": "Verdicts that changed",
    UNDRIFTED: "Verdicts that changed without a drift beyond chance",
    FOLLOWS: "Verdicts that changed as their gate's did",
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
    if tested := tested_text(difference):
        lines += ["", tested]
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


def tested_text(difference: RunDifference) -> str:
    """Return what the drifts of cells are, and how many there are; nothing without any."""
    tested = sum(len(cell.drifts) for cell in difference.cells)
    told = "Drift: mean in B less mean in A; beyond chance where 0 lies outside of its bounds."
    return f"{told} All bounds hold together at 95 %, of {count(tested, 'drift')}." * bool(tested)


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
        (row, (row.name, *row_entries(before), "|", *row_entries(after)))
        for row, before, after in difference.paired_rows
    ]
    if not rows:
        return []
    title = "Claims, over all cells of each run (A | B):"
    return ["", title, *lines_by_paper(rows, indent=2)]


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
    heads = aligned([cell_entries(cell.before, cell.after) for cell in cells], indent=2)
    lines = []
    for head, cell in zip(heads, cells, strict=True):
        told = comparison_lines(cell.after, cell.before.decision)
        lines += [head, *(f"    {line}" for line in told), *_differs(cell)]
    return lines


def _differs(cell: CellDifference) -> list[str]:
    names = [setting.name for setting in cell.settings]
    more = len(names) - _MOST_NAMES
    said = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return aligned([("settings that differ:", said)], indent=4) if names else []


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
