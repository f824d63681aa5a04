"""The report of a run as one HTML fragment: claims, verdicts, and the evidence of every cell."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ivevidence.records.cells import VERDICTS, CellError, CellRecord
from ivevidence.records.digests import canonical_json
from ivevidence.records.rows import claim_rows
from ivevidence.report.cell import render_cell, render_claim, verdict_chip
from ivevidence.report.comparison import MARKS, mark, render_counts
from ivevidence.report.html import Html, join, tag
from ivevidence.report.matrix import anchors, render_matrix
from ivevidence.report.page import SCRIPT, asset, style
from ivevidence.report.rows import render_rows
from ivevidence.report.run import count, render_errors, render_interruption, render_run
from ivevidence.report.tables import fact_text

_READING = {
    "supported": "Every criterion's interval lies wholly beyond a threshold fixed in advance.",
    "refuted": "A criterion's interval lies wholly short of its threshold.",
    "inconclusive": "An interval holds its threshold, or there was nothing to restore.",
    "not_applicable": "A precondition fails, so that the claim was not put to the test.",
}
_HEADLINE = ("date", "device", "dtype", "samples", "seed", "seconds", "measured", "reused")
_EVIDENCE = "iv-evidence"


def render(
    cells: Iterable[CellRecord],
    *,
    errors: Iterable[CellError] = (),
    run: Mapping[str, Any] | None = None,
    sha256: str = "",
) -> Html:
    """Return an HTML fragment with styles and script, for pytest-html's summary or any page's body.

    Without scripts it reads as a plain list of lines, verdicts and criteria; all else about a cell
    is unpacked when the cell is opened. Nothing is loaded from elsewhere, and all that comes from
    data is escaped. Of `run`, `planned` (number of cells), `interrupted` and `missing` (names of
    cells) say what is left out. `sha256` is the digest that closes the evidence file.
    """
    cells, errors, run = list(cells), list(errors), run or {}
    names = anchors(cells)
    return frame(
        tag("a", "Skip to the evidence", href=f"#{_EVIDENCE}", class_="iv-skip") if cells else None,
        render_interruption(run, judged=len(cells), failed=len(errors)),
        _header(cells, errors, run, sha256),
        render_rows(claim_rows(cells)),
        render_errors(errors, run),
        tag("h2", "Verdicts") if cells else tag("p", "No cell was judged."),
        _tiles(cells),
        _filters(cells),
        render_matrix(cells, names),
        _groups(cells, names),
        render_run(run),
        label="Evidence",
    )


def frame(*children: str | None, label: str) -> Html:
    """Return the report's section, named `label`, with its styles and script around `children`."""
    return tag(
        "section",
        style("report.css"),
        *children,
        Html(f"<script>{asset(SCRIPT)}</script>"),
        class_="iv-report",
        aria_label=label,
    )


def _header(
    cells: list[CellRecord], errors: list[CellError], run: Mapping[str, Any], sha256: str
) -> Html:
    papers = dict.fromkeys(cell.claim.paper for cell in cells)
    facts = [f"{key} {fact_text(run[key])}" for key in _HEADLINE if key in run]
    return tag(
        "header",
        tag("p", "ivclaims · evidence report", class_="iv-eyebrow"),
        tag("h1", "Which claims hold, on which checkpoints"),
        *(tag("p", "Claims of ", tag("cite", paper), class_="iv-paper") for paper in papers),
        tag(
            "p",
            count(len(cells), "cell"),
            f", {count(len({cell.checkpoint for cell in cells}), 'checkpoint')}",
            f", {count(len({cell.task for cell in cells}), 'task')}",
            f", {count(len(errors), 'error')}" if errors else None,
            *(join(" · ", fact) for fact in facts),
            class_="iv-facts",
        ),
        tag("p", "Evidence closed by SHA-256 ", tag("code", sha256), class_="iv-facts iv-digest")
        if sha256
        else None,
        render_counts(cells),
    )


def _tiles(cells: list[CellRecord]) -> Html:
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
    return tag("ul", *tiles, class_="iv-tiles")


def _filters(cells: list[CellRecord]) -> Html | None:
    if not cells:
        return None
    verdicts, marks = ({f(cell) for cell in cells} for f in (_verdict, mark))
    choices: dict[str, Sequence[str]] = {
        "claim": list(dict.fromkeys(cell.claim.name for cell in cells)),
        "checkpoint": list(dict.fromkeys(cell.checkpoint for cell in cells)),
        "task": list(dict.fromkeys(cell.task for cell in cells)),
        "verdict": [verdict for verdict in VERDICTS if verdict in verdicts],
        "expected": [word for word in MARKS if word in marks],
    }
    # Shown by the script: without one, a filter would be a control that does nothing.
    return tag(
        "form",
        *(_select(name, values) for name, values in choices.items() if values),
        tag("button", "reset", type="reset"),
        tag("button", "open shown", type="button", data_iv="open"),
        tag("button", "close all", type="button", data_iv="close"),
        tag("output", count(len(cells), "cell"), aria_live="polite"),
        class_="iv-filters",
        hidden=True,
        aria_label="Filter cells",
    )


def _verdict(cell: CellRecord) -> str:
    return cell.decision.verdict


def _select(name: str, values: Sequence[str]) -> Html:
    options = [tag("option", value.replace("not_", "not "), value=value) for value in values]
    select = tag("select", tag("option", "all", value=""), *options, name=name)
    return tag("label", name, select)


def _groups(cells: list[CellRecord], names: list[str]) -> Html | None:
    """The cells under their claim, which is written once for all of them."""
    if not cells:
        return None
    groups: dict[str, list[Html]] = {}
    heads = {}
    for cell, name in zip(cells, names, strict=True):
        claim = canonical_json(cell.claim.to_json())
        groups.setdefault(claim, []).append(render_cell(cell, name))
        heads[claim] = join(tag("h3", cell.claim.title), render_claim(cell.claim))
    return join(
        tag("h2", "Evidence", id=_EVIDENCE, tabindex=-1),
        *(
            tag("section", heads[claim], *group, class_="iv-group")
            for claim, group in groups.items()
        ),
    )
