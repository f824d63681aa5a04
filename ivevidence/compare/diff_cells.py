"""Cells of the difference of two runs: verdicts, figure and statistics side by side."""

from ivevidence.compare.diff_text import cell_entries, drift_test
from ivevidence.compare.differences import CellDifference
from ivevidence.compare.history import Trace, followed, history_figure
from ivevidence.compare.parts import drawn
from ivevidence.figures.kinds import draw
from ivevidence.figures.text import NO_VALUE, OUTCOME_WORDS, format_number
from ivevidence.records.cells import Criterion
from ivevidence.report.cell import verdict_chip
from ivevidence.report.html import Html, tag
from ivevidence.report.tables import bounds, headed_table


def render_pairs(title: str, cells: list[CellDifference]) -> Html | None:
    """Return a section of cells, each before and after; nothing without cells."""
    if not cells:
        return None
    return tag("section", tag("h2", f"{title}: {len(cells)}"), *map(_cell, cells))


def _cell(cell: CellDifference) -> Html:
    claim, *rest = cell_entries(cell.before, cell.after)
    verdicts = [c.decision.verdict for c in (cell.before, cell.after)]
    chips = [tag("span", verdict_chip(v), class_=f"iv-v-{v}") for v in verdicts]
    reasons = [
        tag("li", tag("b", letter), " ", chip, " ", c.decision.reason)
        for letter, chip, c in zip("AB", chips, (cell.before, cell.after), strict=True)
    ]
    differs = ", ".join(setting.name for setting in cell.settings)
    return tag(
        "article",
        tag("h3", " · ".join(part for part in rest if part), tag("small", claim)),
        tag("ul", *reasons, class_="iv-reasons"),
        tag("p", f"Settings that differ: {differs}.", class_="iv-caption") if differs else None,
        tag("div", _figure(cell), tag("div", _criteria(cell), _drifts(cell)), class_="iv-beside"),
        class_="iv-pair",
    )


def _figure(cell: CellDifference) -> Html | None:
    both = (cell.before, cell.after)
    trace = Trace(cell.after.task, cell.after.metric, followed(both), both)
    if trace.criterion is None:
        return None
    return drawn(trace.criterion, "", draw(history_figure(trace.criterion, "", "AB", trace)))


def _criteria(cell: CellDifference) -> Html | None:
    both = [{c.name: c for c in side.decision.criteria} for side in (cell.before, cell.after)]
    rows = []
    for name in {**both[0], **both[1]}:
        title = tag("th", name, scope="rowgroup", rowspan=2)
        for letter, criteria in zip("AB", both, strict=True):
            entries = _entries(criteria.get(name))
            first = title if letter == "A" else None
            rows.append(
                tag("tr", first, tag("th", letter, scope="row", class_="iv-text"), *entries)
            )
    columns = ("criterion", "run", "estimate", "bounds", "threshold", "n", "p", "outcome")
    return headed_table("Criteria", columns, rows) if rows else None


def _entries(c: Criterion | None) -> list[Html]:
    if c is None:
        return [tag("td", NO_VALUE) for _ in range(6)]
    return [
        tag("td", f"{format_number(c.estimate)} {c.unit}".rstrip()),
        tag("td", bounds(c.low, c.high)),
        tag("td", format_number(c.threshold)),
        tag("td", str(c.n)),
        tag("td", format_number(c.p_value)),
        tag("td", OUTCOME_WORDS[c.outcome]),
    ]


def _drifts(cell: CellDifference) -> Html | None:
    rows = [
        tag(
            "tr",
            tag("th", drift.name, scope="row"),
            tag("td", format_number(drift.estimate)),
            tag("td", bounds(drift.low, drift.high)),
            tag("td", format_number(p_value)),
            tag("td", drift_test(drift.n, paired=drift.paired)),
            tag("td", "yes" if drift.name in cell.drifted else "no"),
        )
        for drift, p_value in zip(cell.drifts, cell.adjusted, strict=True)
    ]
    columns = ("values", "mean, B - A", "bounds", "p (Holm)", "test", "beyond chance")
    return headed_table("Per-sample values", columns, rows) if rows else None
