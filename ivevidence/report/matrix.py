"""The verdict matrix: a table a claim, checkpoints down, tasks across, a chip for each cell."""

from ivevidence.figures.text import format_number, two_digits
from ivevidence.records.cells import CellRecord
from ivevidence.report.cell import verdict_chip
from ivevidence.report.comparison import mark, mark_chip
from ivevidence.report.html import Html, join, tag
from ivevidence.report.rows import claim_anchor


def anchors(cells: list[CellRecord]) -> list[str]:
    """Return the element id of each cell, unique even where two cells carry the same name."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for cell in cells:
        name = "cell-" + cell.cell_id.replace("[", "--").rstrip("]")
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}--{seen[name]}")
    return names


def render_matrix(cells: list[CellRecord], names: list[str]) -> Html:
    """Return one table a claim: rows checkpoints by family, columns tasks, entries verdicts."""
    claims: dict[str, list[tuple[CellRecord, str]]] = {}
    for cell, name in zip(cells, names, strict=True):
        claims.setdefault(cell.claim.name, []).append((cell, name))
    return join(*(_claim_table(entries) for entries in claims.values()))


def _claim_table(entries: list[tuple[CellRecord, str]]) -> Html:
    claim = entries[0][0].claim
    tasks = list(dict.fromkeys(cell.task for cell, _ in entries))
    families: dict[str, dict[str, str]] = {}
    for cell, _ in entries:
        families.setdefault(cell.family or "", {})[cell.checkpoint] = cell.stage
    bodies = [_family_rows(family, stages, tasks, entries) for family, stages in families.items()]
    caption = tag("caption", tag("b", claim.title), f" {claim.name} · section {claim.section}")
    head = tag(
        "tr",
        tag("th", "checkpoint", scope="col"),
        *(tag("th", task, scope="col") for task in tasks),
    )
    table = tag("table", caption, tag("thead", head), *bodies, class_="iv-matrix")
    # Focusable, so that it can be scrolled with the keyboard where the page is narrow.
    return tag(
        "div",
        table,
        id=claim_anchor(claim.name),
        class_="iv-scroll",
        tabindex=0,
        role="region",
        aria_label=claim.title,
    )


def _family_rows(
    family: str, stages: dict[str, str], tasks: list[str], entries: list[tuple[CellRecord, str]]
) -> Html:
    rows = []
    if family:
        title = tag("th", "family ", tag("b", family), colspan=len(tasks) + 1, scope="rowgroup")
        rows.append(tag("tr", title, class_="iv-family"))
    for checkpoint, stage in stages.items():
        columns = []
        for task in tasks:
            chips = [
                _chip(cell, name)
                for cell, name in entries
                if (cell.family or "", cell.checkpoint, cell.task) == (family, checkpoint, task)
            ]
            columns.append(tag("td", *chips))
        head = tag("th", checkpoint, tag("small", stage), scope="row")
        rows.append(tag("tr", head, *columns))
    return tag("tbody", *rows)


def _chip(cell: CellRecord, name: str) -> Html:
    leading = cell.decision.criteria[0] if cell.decision.criteria else None
    number = two_digits(leading.estimate) if leading else None
    return tag(
        "a",
        tag("span", cell.metric, class_="iv-metric") if cell.metric else None,
        verdict_chip(cell.decision.verdict),
        mark_chip(cell),
        tag("span", number, class_="iv-number") if leading else None,
        href=f"#{name}",
        class_=f"iv-entry iv-v-{cell.decision.verdict}",
        title=f"{leading.name}: {format_number(leading.estimate)}" if leading else None,
        aria_label=_spoken(cell, number),
    )


def _spoken(cell: CellRecord, number: str | None) -> str:
    """A chip's name where the table around it cannot be seen; it ends with what the chip shows."""
    place = (cell.claim.name, cell.checkpoint, cell.task, cell.metric)
    shown = (cell.decision.verdict.replace("_", " "), mark(cell), number)
    return ", ".join(part for part in (*place, *shown) if part is not None)
