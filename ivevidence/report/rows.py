"""The first table of a report: a row a claim, and what it says of the paper's sentence."""

from collections.abc import Iterable, Sequence

from ivevidence.records.rows import ClaimRow
from ivevidence.report.cell import verdict_chip
from ivevidence.report.html import Html, tag
from ivevidence.report.row_text import (
    by_paper,
    cells_text,
    holds_text,
    level_text,
    planted_text,
    said_text,
    why_text,
)

_COLUMNS = (
    "claim",
    "over its cells",
    "the paper says",
    "so its sentence is",
    "supported of planted",
)
_CAPTION = (
    "Cells are checkpoints and tasks of this run. Each end of “a to b” is wrong with a chance of "
    "at most 5 % over all cells of the claim (Holm), so that fewer are certain than are supported "
    "or refuted one by one. These ends decide about the sentence. Planted cells, true or false by "
    "construction, test our rules and count in no other column; those made for other claims are "
    "left out."
)


def claim_anchor(claim: str) -> str:
    """Return the element id of a claim's matrix."""
    return f"claim-{claim}"


def render_rows(rows: Sequence[ClaimRow]) -> Html | None:
    """Return one table of all claims; nothing without any."""
    if not rows:
        return None
    head = tag("tr", *(tag("th", column, scope="col") for column in _COLUMNS))
    bodies = bodies_by_paper(((row, _row(row)) for row in rows), len(_COLUMNS))
    title = tag("caption", _CAPTION)
    table = tag("table", title, tag("thead", head), *bodies, class_="iv-rows")
    label = "Claims"
    return tag("div", table, class_="iv-scroll", tabindex=0, role="region", aria_label=label)


def bodies_by_paper(entries: Iterable[tuple[ClaimRow, Html]], columns: int) -> list[Html]:
    """Return the bodies of a table of such `<tr>`, headed by their paper if there are several."""
    return [
        tag("tbody", _paper(title, columns) if title else None, *rows)
        for title, rows in by_paper(entries)
    ]


def _paper(title: str, columns: int) -> Html:
    head = tag("th", tag("cite", title), colspan=columns, scope="rowgroup")
    return tag("tr", head, class_="iv-family")


def _row(row: ClaimRow) -> Html:
    return tag(
        "tr",
        tag(
            "th",
            tag("a", row.title, href=f"#{claim_anchor(row.claim)}"),
            tag("small", row.name),
            tag("small", level_text(row.level)) if row.level else None,
            scope="row",
        ),
        tag("td", tag("b", holds_text(row)), tag("small", cells_text(row))),
        tag("td", said_text(row)),
        tag(
            "td",
            verdict_chip(row.verdict) if row.verdict else None,
            tag("small", why_text(row)) if why_text(row) else None,
            class_=f"iv-v-{row.verdict}" if row.verdict else None,
        ),
        tag("td", tag("small", planted_text(row))),
    )
