"""The difference of two runs as one HTML fragment."""

from collections.abc import Mapping
from typing import Any

from ivevidence.compare.diff_text import (
    TITLES,
    cell_entries,
    row_entries,
    tested_text,
    warnings,
)
from ivevidence.compare.differences import FOLLOWS, CellDifference, RunDifference
from ivevidence.compare.history import Trace, followed, history_figure
from ivevidence.compare.parts import comparison_style, drawn, head, wide_table
from ivevidence.figures.kinds import draw
from ivevidence.figures.text import NO_VALUE
from ivevidence.records.cells import UNDRIFTED, CellError, CellRecord
from ivevidence.records.settings import apart
from ivevidence.report.cell import verdict_chip
from ivevidence.report.comparison import render_comparison
from ivevidence.report.fragment import frame
from ivevidence.report.html import Html, join, tag
from ivevidence.report.rows import bodies_by_paper
from ivevidence.report.tables import estimate_text, facts_table

_LONGEST = 300
_READING = {
    "changed": "The verdict is another one, and no accident of the samples can be told to be why.",
    UNDRIFTED: "The verdict is another one, but no value moved beyond chance: a warning.",
    FOLLOWS: "The verdict changed as that of the cell's gate, which tells it by itself.",
    "drifted": "The verdict is the same, but per-sample values moved beyond chance.",
    "same": "The verdict is the same, and no value moved beyond chance.",
    "only in A": "The cell was not judged in B.",
    "only in B": "The cell was not judged in A.",
}
_CELL = ("claim", "checkpoint", "task", "metric")


def diff_page(
    difference: RunDifference,
    runs: tuple[str, str],
    facts: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Html:
    """Return the fragment, for any page's body, of two runs by name, with what is known of each.

    Nothing is loaded from elsewhere, and all that comes from data is escaped.
    """
    return frame(
        comparison_style(),
        _header(difference, runs, facts),
        *(
            _failures(letter, errors)
            for letter, errors in zip("AB", difference.errors, strict=True)
        ),
        _rows(difference),
        _settings(difference),
        *(_pairs(title, difference.of_kind(kind)) for kind, title in TITLES.items()),
        _only("Only in A", difference.only_before),
        _only("Only in B", difference.only_after),
        _same(difference.of_kind("same")),
        _runs(runs, facts),
        label="Difference of two runs",
    )


def _header(
    difference: RunDifference,
    runs: tuple[str, str],
    facts: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Html:
    counts = {
        **difference.counts,
        "only in A": len(difference.only_before),
        "only in B": len(difference.only_after),
    }
    tiles = [
        tag(
            "li",
            tag("b", str(number)),
            tag("span", kind, class_="iv-verdict"),
            tag("span", _READING[kind], class_="iv-reading"),
            class_=f"iv-tile iv-d-{kind.replace(' ', '-').lower()}",
        )
        for kind, number in counts.items()
    ]
    said = [
        tag("p", tag("b", letter), f" {name}", *_date(about), class_="iv-facts")
        for letter, name, about in zip("AB", runs, facts, strict=True)
    ]
    alerts = [tag("p", line, class_="iv-alert", role="alert") for line in warnings(difference)]
    return tag(
        "header",
        tag("p", "ivclaims · difference of two runs", class_="iv-eyebrow"),
        tag("h1", "What changed from A to B"),
        *said,
        *alerts,
        tag("ul", *tiles, class_="iv-tiles"),
        tag("p", tested_text(difference), class_="iv-facts iv-how"),
    )


def _date(facts: Mapping[str, Any]) -> list[str]:
    return [f" · {facts['date']}"] if "date" in facts else []


def _failures(letter: str, errors: tuple[CellError, ...]) -> Html | None:
    if not errors:
        return None
    items = [tag("li", tag("b", error.cell), tag("pre", error.message)) for error in errors]
    title = tag("h2", f"Could not be judged in {letter}")
    return tag("section", title, tag("ul", *items), class_="iv-errors")


def _rows(difference: RunDifference) -> Html | None:
    if not difference.paired_rows:
        return None
    rows = []
    for row, before, after in difference.paired_rows:
        texts = (*row_entries(before), *row_entries(after))
        entries = [tag("td", text, class_="iv-text") for text in texts]
        rows.append((row, tag("tr", tag("th", row.name, scope="row"), *entries)))
    caption = "Over all cells of each run, those that the other has not included."
    columns = ("claim", "A", "its sentence", "B", "its sentence")
    table = wide_table(caption, head(*columns), *bodies_by_paper(rows, len(columns)))
    return tag("section", tag("h2", "Claims"), table)


def _settings(difference: RunDifference) -> Html | None:
    if not difference.settings:
        return None
    rows = []
    for setting in difference.settings:
        texts = apart(setting.before, setting.after, _LONGEST)
        of = f"{len(setting.cells)} of {len(difference.cells)}"
        cells = [tag("td", text, class_="iv-text") for text in texts]
        rows.append(tag("tr", tag("th", setting.name, scope="row"), *cells, tag("td", of)))
    caption = "Rule, parameters, inputs and versions that the cells of both runs do not share."
    table = wide_table(caption, head("setting", "A", "B", "cells"), tag("tbody", *rows))
    return tag("section", tag("h2", "Settings that differ"), table)


def _pairs(title: str, cells: list[CellDifference]) -> Html | None:
    """The cells of a kind, each before and after."""
    if not cells:
        return None
    return tag("section", tag("h2", f"{title}: {len(cells)}"), *map(_pair, cells))


def _pair(cell: CellDifference) -> Html:
    claim, *rest = cell_entries(cell.before, cell.after)
    both, reasons = (cell.before, cell.after), []
    for letter, side in zip("AB", both, strict=True):
        verdict = side.decision.verdict
        chip = tag("span", verdict_chip(verdict), class_=f"iv-v-{verdict}")
        reasons.append(tag("li", tag("b", letter), " ", chip, " ", side.decision.reason))
    differs = ", ".join(setting.name for setting in cell.settings)
    compared = tag("div", render_comparison(cell.after, cell.before.decision))
    return tag(
        "article",
        tag("h3", " · ".join(part for part in rest if part), tag("small", claim)),
        tag("ul", *reasons, class_="iv-reasons"),
        tag("p", f"Settings that differ: {differs}.", class_="iv-caption") if differs else None,
        tag("div", _figure(cell), compared, class_="iv-beside"),
        class_="iv-pair",
    )


def _figure(cell: CellDifference) -> Html | None:
    both = (cell.before, cell.after)
    trace = Trace(cell.after.task, cell.after.metric, followed(both), both)
    if trace.criterion is None:
        return None
    return drawn(trace.criterion, "", draw(history_figure(trace.criterion, "", "AB", trace)))


def _only(title: str, cells: tuple[CellRecord, ...]) -> Html | None:
    if not cells:
        return None
    rows = [tag("tr", *_names(cell, cell), _chip(cell), _leading(cell)) for cell in cells]
    table = wide_table(title, head(*_CELL, "verdict", "estimate"), tag("tbody", *rows))
    return tag("section", tag("h2", f"{title}: {len(cells)}"), table)


def _same(cells: list[CellDifference]) -> Html | None:
    if not cells:
        return None
    rows = []
    for cell in cells:
        tests = {"paired" if drift.paired else "unpaired" for drift in cell.drifts}
        numbers = (_leading(cell.before), _leading(cell.after))
        test = tag("td", *sorted(tests) or [NO_VALUE])
        rows.append(tag("tr", *_names(cell.before, cell.after), _chip(cell.after), *numbers, test))
    columns = (*_CELL, "verdict", "A", "B", "samples")
    title = f"Same verdict, no drift beyond chance: {len(cells)}"
    table = wide_table("Estimates of each run's first criterion", head(*columns), *rows)
    return tag("details", tag("summary", title), table, class_="iv-run")


def _names(before: CellRecord, after: CellRecord) -> list[Html]:
    first, *rest = cell_entries(before, after)
    return [tag("th", first, scope="row"), *(tag("td", text, class_="iv-text") for text in rest)]


def _chip(cell: CellRecord) -> Html:
    verdict = cell.decision.verdict
    return tag("td", verdict_chip(verdict), class_=f"iv-text iv-v-{verdict}")


def _leading(cell: CellRecord) -> Html:
    if not cell.decision.criteria:
        return tag("td", NO_VALUE)
    return tag("td", estimate_text(cell.decision.criteria[0]))


def _runs(runs: tuple[str, str], facts: tuple[Mapping[str, Any], Mapping[str, Any]]) -> Html:
    tables = [
        join(tag("h4", f"{letter} · {name}"), facts_table(about, label=f"About {letter}"))
        for letter, name, about in zip("AB", runs, facts, strict=True)
    ]
    return tag("details", tag("summary", "About both runs"), *tables, class_="iv-run")
