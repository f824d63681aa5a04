"""What an opened cell shows: comparison, figures, tables, prompts, notes, command, provenance."""

from ivevidence.figures.data import Estimate, Intervals
from ivevidence.figures.kinds import draw
from ivevidence.figures.svg import visible_token
from ivevidence.figures.text import format_number
from ivevidence.records.cells import CellRecord, Figure, Prompt, Table
from ivevidence.report.comparison import render_comparison
from ivevidence.report.html import Html, join, tag
from ivevidence.report.tables import facts_table, headed_table


def render_details(cell: CellRecord) -> Html:
    """Return everything about the cell but its line, verdict and criteria."""
    return join(
        render_comparison(cell),
        _figures(_all_figures(cell)),
        *map(_table, cell.tables),
        *map(_table, cell.controls),
        _prompts(cell.prompts),
        _notes(cell.notes),
        _reproduction(cell.command),
        _provenance(cell),
    )


def list_details(cell: CellRecord) -> str:
    """Return what there is to see, for who cannot open the cell."""
    titles = [figure.title for figure in _all_figures(cell)]
    titles += [table.title for table in (*cell.tables, *cell.controls)]
    parts = {"prompts": cell.prompts, "notes": cell.notes, "command": cell.command}
    return ", ".join([*titles, *(name for name, part in parts.items() if part), "provenance"])


def _all_figures(cell: CellRecord) -> list[Figure]:
    if not cell.decision.criteria:
        return list(cell.figures)
    criteria = tuple(Estimate.of(c.name, c, c.outcome) for c in cell.decision.criteria)
    caption = "Each row on its own scale: the threshold in the middle, interval and estimate."
    data = Intervals(criteria).to_json()
    return [Figure("intervals", "Criteria against thresholds", caption, data), *cell.figures]


def _figures(figures: list[Figure]) -> Html | None:
    if not figures:
        return None
    drawn = [
        tag(
            "figure",
            tag("figcaption", tag("b", figure.title), " ", figure.caption),
            Html(draw(figure)),
            class_="iv-figure",
        )
        for figure in figures
    ]
    return tag("div", *drawn, class_="iv-figures")


def _table(table: Table) -> Html:
    rows = [tag("tr", *map(_entry, row)) for row in table.rows]
    texts = {k for row in table.rows for k, entry in enumerate(row) if isinstance(entry, str)}
    return headed_table(table.title, table.columns, rows, caption=table.caption, texts=texts)


def _entry(entry: str | int | float | None) -> Html:
    if isinstance(entry, str):
        return tag("td", entry, class_="iv-text")
    return tag("td", str(entry) if isinstance(entry, int) else format_number(entry))


def _prompts(prompts: tuple[Prompt, ...]) -> Html | None:
    if not prompts:
        return None
    items = [
        tag(
            "li",
            tag("span", prompt.label, class_="iv-label"),
            tag("span", *_tokens(prompt), class_="iv-tokens"),
            tag(
                "span",
                *("answer ", tag("code", prompt.answer)),
                *(
                    (" judged on ", tag("code", visible_token(prompt.token)))
                    if prompt.token
                    else ()
                ),
                *(" output ", tag("code", prompt.output)),
                class_="iv-answer",
            ),
        )
        for prompt in prompts
    ]
    return join(tag("h4", "Prompts"), tag("ul", *items, class_="iv-prompts"))


def _tokens(prompt: Prompt) -> list[Html]:
    plain = {"class_": None}
    return [
        tag(
            "i",
            visible_token(token),
            tag("b", prompt.marks[k]) if k in prompt.marks else None,
            **({"class_": "iv-mark"} if k in prompt.marks else plain),
        )
        for k, token in enumerate(prompt.tokens)
    ]


def _notes(notes: tuple[str, ...]) -> Html | None:
    if not notes:
        return None
    return join(
        tag("h4", "Notes"), tag("ul", *(tag("li", note) for note in notes), class_="iv-notes")
    )


def _reproduction(command: str) -> Html | None:
    if not command:
        return None
    return join(
        tag("h4", "Reproduce this cell"), tag("pre", command, class_="iv-command", tabindex=0)
    )


def _provenance(cell: CellRecord) -> Html:
    facts = {"cell": cell.cell_id, "stage": cell.stage, **cell.provenance}
    facts |= {f"parameter {key}": value for key, value in cell.parameters.items()}
    facts |= {f"measurement {role}": digest for role, digest in cell.measurements.items()}
    if cell.samples:
        facts["samples"] = _samples(cell.samples)
    sizes = ", ".join(f"{name} (n = {len(values)})" for name, values in cell.per_sample.items())
    if sizes:
        facts["per-sample values"] = f"{sizes}, in the evidence file"
    return tag(
        "details",
        tag("summary", "Provenance and parameters"),
        facts_table(facts, label="Provenance and parameters"),
        class_="iv-provenance",
    )


def _samples(samples: tuple[str, ...]) -> Html:
    count = f"{len(samples)} sample{'' if len(samples) == 1 else 's'}"
    names = tag("ol", *(tag("li", sample) for sample in samples))
    return tag("details", tag("summary", count), names, class_="iv-samples")
