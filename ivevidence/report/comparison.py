"""A cell against what was expected of it: marks, counts, and the two side by side."""

from collections import Counter
from collections.abc import Iterable

from ivevidence.figures.text import format_number
from ivevidence.records.cells import (
    UNDRIFTED,
    CellRecord,
    Comparison,
    Criterion,
    Drift,
    Expectation,
)
from ivevidence.report.html import Html, join, tag
from ivevidence.report.tables import bounds, headed_table

MARKS = ("as expected", "changed", UNDRIFTED, "follows its gate", "drifted", "new")


_CHANGED = {
    UNDRIFTED: "The verdict changed, but no value drifted significantly. Two equal checkpoints "
    "may have two verdicts as well: a warning, no failure.",
    "with a drift": "The verdict changed, and values drifted significantly.",
    "same values": "The verdict changed, but no value did: what judges them is another one.",
    "another rule": "The verdict changed, and the claim's rule is another one.",
    "nothing to compare": "The verdict changed; there are no values to tell chance from a drift.",
}


def mark(cell: CellRecord) -> str | None:
    """Return how the cell stands to its expectation, one of `MARKS`; None if it had none to meet.

    A changed verdict says more than a drift, so that a cell with both is "changed".
    """
    comparison = cell.comparison
    if comparison is None:
        return None
    if comparison.expectation is None:
        return "new"
    if comparison.expectation.verdict != cell.decision.verdict:
        if comparison.follows:
            return "follows its gate"
        return UNDRIFTED if comparison.change == UNDRIFTED else "changed"
    return "drifted" if comparison.drifted else "as expected"


def mark_chip(cell: CellRecord, *, full: bool = False) -> Html | None:
    """Return the mark, `full` with both verdicts; nothing for what is as expected."""
    word = mark(cell)
    if word in (None, "as expected"):
        return None
    changed = word in ("changed", UNDRIFTED)
    change = f"{word}: {_change(cell)}" if full and changed else word
    return tag("span", change, class_="iv-since")


def render_counts(cells: Iterable[CellRecord]) -> Html | None:
    """Return the sentence that counts the marks, if any cell has one."""
    compared = [cell for cell in cells if cell.comparison]
    if not compared:
        return None
    names = dict.fromkeys(cell.comparison.baseline for cell in compared if cell.comparison)
    counts = Counter(mark(cell) for cell in compared)
    said = ", ".join(f"{counts[word]} {word}" for word in MARKS)
    return tag("p", f"Against {', '.join(names)}: {said}.", class_="iv-facts iv-against")


def render_comparison(cell: CellRecord) -> Html | None:
    """Return what was expected beside what is, and how far the values moved."""
    comparison = cell.comparison
    if comparison is None:
        return None
    return join(
        _side_by_side(cell, comparison),
        _drifts(comparison) if comparison.drifts else None,
    )


def _change(cell: CellRecord) -> str:
    before = cell.comparison and cell.comparison.expectation
    words = (before.verdict if before else "", cell.decision.verdict)
    return " → ".join(word.replace("_", " ") for word in words)


def _side_by_side(cell: CellRecord, comparison: Comparison) -> Html:
    title, before = "Expected and found", comparison.expectation
    if before is None:
        return join(tag("h4", title), tag("p", f"No entry for this cell in {comparison.baseline}."))
    leading = cell.decision.criteria[0] if cell.decision.criteria else None
    expected = _column(before.verdict, before.criterion, before)
    found = _column(cell.decision.verdict, leading.name if leading else None, leading)
    names = ("verdict", "criterion", "estimate", "bounds", "n")
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag("td", text, class_="iv-text") for text in pair),
        )
        for name, *pair in zip(names, expected, found, strict=True)
    ]
    checkpoint = comparison.checkpoint or cell.checkpoint
    caption = f"Expected: {checkpoint} in {comparison.baseline}."
    if comparison.change:
        caption += f" {_CHANGED[comparison.change]}"
    columns = ("", "expected", "found")
    return headed_table(title, columns, rows, caption=caption, texts={1, 2})


def _column(
    verdict: str, criterion: str | None, of: Expectation | Criterion | None
) -> tuple[str, ...]:
    missing = format_number(None)
    return (
        verdict.replace("_", " "),
        criterion or missing,
        format_number(of.estimate) if of else missing,
        bounds(of.low, of.high) if of else missing,
        str(of.n) if of and of.n is not None else missing,
    )


def _drifts(comparison: Comparison) -> Html:
    columns = ("values", "moved by", "bounds", "p", "n before", "n now", "samples", "judged")
    return headed_table(
        "Drifts",
        columns,
        [_drift(drift, drift.name in comparison.drifted) for drift in comparison.drifts],
        caption="Mean now minus mean before, two-sided bounds.",
        texts={6, 7},
    )


def _drift(drift: Drift, beyond: bool) -> Html:
    before, after = drift.n
    return tag(
        "tr",
        tag("th", drift.name, scope="row"),
        tag("td", format_number(drift.estimate)),
        tag("td", bounds(drift.low, drift.high)),
        tag("td", format_number(drift.p_value)),
        tag("td", str(before)),
        tag("td", str(after)),
        tag("td", "paired" if drift.paired else "unpaired", class_="iv-text"),
        tag("td", "drifted" if beyond else "within what is allowed", class_="iv-text"),
    )
