"""A cell against what it was before: marks, counts, and the two side by side."""

from collections import Counter
from collections.abc import Iterable

from ivevidence.figures.text import NO_VALUE, OUTCOME_WORDS, format_number, threshold_text
from ivevidence.records.cells import (
    UNDRIFTED,
    CellRecord,
    Comparison,
    Criterion,
    Decision,
    Drift,
    Expectation,
)
from ivevidence.report.html import Html, join, tag
from ivevidence.report.tables import bounds, estimate_text, headed_table

MARKS = ("as expected", "changed", UNDRIFTED, "follows its gate", "drifted", "new")

# What came with a changed verdict, and what follows.
CAUSES = {
    UNDRIFTED: "no value drifted further than chance takes it, and two equal checkpoints may have "
    "two verdicts as well: a warning, no failure",
    "with a drift": "values drifted further than chance takes them",
    "same values": "no value moved: not the checkpoint, but what judges it changed",
    "another rule": "the claim's rule is another one since: see the verdicts, write a file of "
    "expectations again",
    "nothing to compare": "no per-sample values to tell chance from a drift by: another store, or "
    "none are kept of such a cell",
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


def render_comparison(cell: CellRecord, before: Decision | None = None) -> Html | None:
    """Return what a cell was beside what it is, and how far its values moved.

    `before` is the decision that its expectation was made of, where that is known.
    """
    comparison = cell.comparison
    if comparison is None:
        return None
    return join(
        _side_by_side(cell, comparison, before),
        _drifts(comparison) if comparison.drifts else None,
    )


def _change(cell: CellRecord) -> str:
    before = cell.comparison and cell.comparison.expectation
    words = (before.verdict if before else "", cell.decision.verdict)
    return " → ".join(map(_words, words))


def _side_by_side(cell: CellRecord, comparison: Comparison, before: Decision | None) -> Html:
    title, entry, now = "Before and now", comparison.expectation, cell.decision
    if entry is None:
        return join(tag("h4", title), tag("p", f"No entry for this cell in {comparison.baseline}."))
    was: dict[str, Expectation | Criterion] = {entry.criterion: entry} if entry.criterion else {}
    was |= {c.name: c for c in before.criteria} if before else {}
    found = {c.name: c for c in now.criteria}
    texts = [("verdict", _words(entry.verdict), _words(now.verdict))]
    texts += [(name, _numbers(was.get(name)), _numbers(found.get(name))) for name in was | found]
    rows = [
        tag("tr", tag("th", name, scope="row"), *(tag("td", t, class_="iv-text") for t in pair))
        for name, *pair in texts
    ]
    caption = f"Before: {comparison.checkpoint or cell.checkpoint} in {comparison.baseline}."
    if comparison.change:
        caption += f" The verdict changed: {CAUSES[comparison.change]}."
    if comparison.follows:
        caption += f" The verdict changed as {comparison.follows} did."
    return headed_table(title, ("", "before", "now"), rows, caption=caption, texts={1, 2})


def _numbers(found: Expectation | Criterion | None) -> str:
    if found is None:
        return NO_VALUE
    numbers = f"{estimate_text(found)}, n {found.n}"
    if isinstance(found, Expectation):
        return numbers
    threshold = threshold_text(format_number(found.threshold), found.side)
    return f"{numbers}, threshold {threshold}: {OUTCOME_WORDS[found.outcome]}"


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")


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
