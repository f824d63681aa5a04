"""The report of a run as one HTML fragment: verdicts first, then the evidence of every cell."""

import importlib.resources
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ivevidence.html import Html, join, tag
from ivevidence.records import VERDICTS, CellError, CellRecord
from ivevidence.report_cell import render_cell, verdict_chip
from ivevidence.report_matrix import anchors, render_matrix

_READING = {
    "supported": "Every criterion's interval lies wholly beyond a threshold fixed in advance.",
    "refuted": "A criterion's interval lies wholly short of its threshold.",
    "inconclusive": "An interval holds its threshold, or there was nothing to restore.",
    "not_applicable": "A precondition fails, so that the claim was not put to the test.",
}
_HEADLINE = ("date", "device", "dtype", "samples", "seed", "seconds", "measured", "reused")


def render(
    cells: Iterable[CellRecord],
    *,
    errors: Iterable[CellError] = (),
    run: Mapping[str, Any] | None = None,
) -> str:
    """Return an HTML fragment with styles and script, for pytest-html's summary or any page's body.

    Without scripts it reads as a plain list; figures are inflated when a cell is opened. Nothing is
    loaded from elsewhere, and all that comes from data is escaped.
    """
    cells, errors = list(cells), list(errors)
    names = anchors(cells)
    return tag(
        "section",
        Html(f"<style>{_asset('report.css')}</style>"),
        _header(cells, errors, run or {}),
        _errors(errors),
        tag("h2", "Verdicts") if cells else tag("p", "No cell was judged."),
        _filters(cells),
        render_matrix(cells, names),
        _cells(cells, names),
        _run_details(run or {}),
        Html(f"<script>{_asset('report.js')}</script>"),
        class_="iv-report",
        aria_label="Evidence",
    )


def _asset(name: str) -> str:
    return (importlib.resources.files("ivevidence") / "assets" / name).read_text("utf-8")


def _header(cells: list[CellRecord], errors: list[CellError], run: Mapping[str, Any]) -> Html:
    papers = dict.fromkeys(cell.claim.paper for cell in cells)
    facts = [f"{key} {_short(run[key])}" for key in _HEADLINE if key in run]
    counts = Counter(cell.decision.verdict for cell in cells)
    tiles = [
        tag(
            "li",
            tag("b", str(counts[verdict])),
            verdict_chip(verdict),
            tag("span", _READING[verdict], class_="iv-reading"),
            class_=f"iv-tile iv-v-{verdict}",
        )
        for verdict in VERDICTS
    ]
    return tag(
        "header",
        tag("p", "ivclaims · evidence report", class_="iv-eyebrow"),
        tag("h1", "Which claims hold, on which checkpoints"),
        *(tag("p", "Claims of ", tag("cite", paper), class_="iv-paper") for paper in papers),
        tag(
            "p",
            _count(len(cells), "cell"),
            f", {_count(len({cell.checkpoint for cell in cells}), 'checkpoint')}",
            f", {_count(len({cell.task for cell in cells}), 'task')}",
            f", {_count(len(errors), 'error')}" if errors else None,
            *(join(" · ", fact) for fact in facts),
            class_="iv-facts",
        ),
        tag("ul", *tiles, class_="iv-tiles"),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _errors(errors: list[CellError]) -> Html | None:
    if not errors:
        return None
    items = [tag("li", tag("b", error.cell), tag("pre", error.message)) for error in errors]
    return tag(
        "section",
        tag("h2", "Errors"),
        tag("p", "These cells could not be judged. An error says nothing about the claim."),
        tag("ul", *items),
        class_="iv-errors",
    )


def _filters(cells: list[CellRecord]) -> Html | None:
    if not cells:
        return None
    choices: dict[str, Sequence[str]] = {
        "claim": list(dict.fromkeys(cell.claim.name for cell in cells)),
        "checkpoint": list(dict.fromkeys(cell.checkpoint for cell in cells)),
        "task": list(dict.fromkeys(cell.task for cell in cells)),
        "verdict": [v for v in VERDICTS if any(c.decision.verdict == v for c in cells)],
    }
    selects = [_select(name, values) for name, values in choices.items()]
    # Shown by the script: without one, a filter would be a control that does nothing.
    return tag(
        "form",
        *selects,
        tag("button", "reset", type="reset"),
        tag("button", "open shown", type="button", data_iv="open"),
        tag("button", "close all", type="button", data_iv="close"),
        tag("output", _count(len(cells), "cell"), aria_live="polite"),
        class_="iv-filters",
        hidden=True,
        aria_label="Filter cells",
    )


def _select(name: str, values: Sequence[str]) -> Html:
    options = [tag("option", value.replace("not_", "not "), value=value) for value in values]
    select = tag("select", tag("option", "all", value=""), *options, name=name)
    return tag("label", name, select)


def _cells(cells: list[CellRecord], names: list[str]) -> Html | None:
    groups: dict[str, list[Html]] = {}
    titles = {}
    for cell, name in zip(cells, names, strict=True):
        groups.setdefault(cell.claim.name, []).append(render_cell(cell, name))
        titles[cell.claim.name] = cell.claim.title
    return join(
        tag("h2", "Evidence") if cells else None,
        *(
            tag("section", tag("h3", titles[name]), *group, class_="iv-group")
            for name, group in groups.items()
        ),
    )


def _run_details(run: Mapping[str, Any]) -> Html | None:
    if not run:
        return None
    rows = [
        tag("tr", tag("th", key, scope="row"), tag("td", _short(value)))
        for key, value in run.items()
    ]
    return tag(
        "details",
        tag("summary", "About this run"),
        tag("table", *rows, class_="iv-table iv-facts-table"),
        class_="iv-run",
    )


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
