"""One cell of the report: claim, verdict, criteria, figures, controls, prompts, provenance."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from ivevidence.figure_text import NO_VALUE, format_number
from ivevidence.figures import draw
from ivevidence.html import Html, join, tag
from ivevidence.records import CellRecord, Claim, Criterion, Decision, Figure, Prompt, Table
from ivevidence.svg import visible_token
from ivevidence.sweep_figures import OUTCOME_WORDS

_GLYPHS = {"supported": "✓", "refuted": "✕", "inconclusive": "◐", "not_applicable": NO_VALUE}


def render_cell(cell: CellRecord, name: str) -> Html:
    """Return the cell as a closed `<details>` with id `name`."""
    return tag(
        "details",
        _summary(cell),
        tag(
            "div",
            _claim(cell.claim),
            _verdict(cell.decision),
            _figures(cell),
            *map(_table, cell.tables),
            *map(_table, cell.controls),
            _prompts(cell.prompts),
            _notes(cell.notes),
            _reproduction(cell.command),
            _provenance(cell),
            class_="iv-body",
        ),
        id=name,
        class_="iv-cell",
        data_claim=cell.claim.name,
        data_checkpoint=cell.checkpoint,
        data_task=cell.task,
        data_verdict=cell.decision.verdict,
    )


def verdict_chip(verdict: str) -> Html:
    """Return a verdict as glyph and word: never by color alone."""
    glyph = tag("span", _GLYPHS[verdict], aria_hidden="true", class_="iv-glyph")
    return tag("span", glyph, verdict.replace("_", " "), class_="iv-verdict")


def _summary(cell: CellRecord) -> Html:
    leading = cell.decision.criteria[0] if cell.decision.criteria else None
    return tag(
        "summary",
        tag("span", verdict_chip(cell.decision.verdict), class_=f"iv-v-{cell.decision.verdict}"),
        tag("b", cell.checkpoint),
        tag("span", cell.task),
        tag("span", cell.metric, class_="iv-metric") if cell.metric else None,
        tag("span", f"{leading.name} {_estimate(leading)}", class_="iv-number")
        if leading
        else None,
    )


def _estimate(c: Criterion) -> str:
    return f"{format_number(c.estimate)} [{format_number(c.low)}, {format_number(c.high)}]"


def _claim(claim: Claim) -> Html:
    source = tag("footer", tag("cite", claim.paper), f", section {claim.section}")
    return join(
        tag("blockquote", tag("p", claim.quote), source),
        tag(
            "dl",
            *(tag("dt", "Estimand"), tag("dd", claim.estimand)),
            *(tag("dt", "Rule"), tag("dd", claim.rule)),
            class_="iv-rule",
        ),
    )


def _verdict(decision: Decision) -> Html:
    more = decision.samples_to_decide
    return join(
        tag(
            "p",
            verdict_chip(decision.verdict),
            tag("span", decision.reason),
            tag("span", f"About {more} samples would decide.") if more else None,
            class_=f"iv-outcome iv-v-{decision.verdict}",
        ),
        _criteria(decision) if decision.criteria else None,
    )


def _criteria(decision: Decision) -> Html:
    names = ("criterion", "estimate", "bounds", "threshold", "margin", "n", "p", "outcome")
    rows = [
        tag(
            "tr",
            tag("th", c.name, tag("small", c.description) if c.description else None, scope="row"),
            tag("td", _with_unit(c.estimate, c.unit)),
            tag("td", f"[{format_number(c.low)}, {format_number(c.high)}]"),
            tag("td", format_number(c.threshold)),
            tag("td", format_number(c.margin)),
            tag("td", str(c.n)),
            tag("td", format_number(c.p_value)),
            tag("td", OUTCOME_WORDS[c.outcome], class_=f"iv-o-{c.outcome}"),
        )
        for c in decision.criteria
    ]
    return _scroll(
        tag("h4", "Criteria"),
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names))),
            tag("tbody", *rows),
            class_="iv-table iv-criteria",
        ),
    )


def _with_unit(value: float | None, unit: str) -> str:
    return f"{format_number(value)} {unit}".rstrip()


def _figures(cell: CellRecord) -> Html | None:
    figures = list(cell.figures)
    if cell.decision.criteria:
        data = {"criteria": [criterion.to_json() for criterion in cell.decision.criteria]}
        caption = "Each row on its own scale: the threshold in the middle, interval and estimate."
        figures.insert(0, Figure("intervals", "Criteria against thresholds", caption, data))
    if not figures:
        return None
    drawn = [
        tag(
            "figure",
            tag("figcaption", tag("b", figure.title), " ", figure.caption),
            Html(draw(figure)),
            class_=f"iv-figure iv-{figure.kind}",
        )
        for figure in figures
    ]
    # Inflated by the script when the cell is opened: hundreds of drawn figures make a page slow.
    packed = base64.b64encode(zlib.compress(join(*drawn).encode(), 9)).decode("ascii")
    titles = ", ".join(figure.title for figure in figures)
    fallback = tag("p", f"Figures (drawn by a script when the cell is opened): {titles}.")
    return tag("div", fallback, class_="iv-figures", data_iv_packed=packed)


def _table(table: Table) -> Html:
    head = tag("tr", *(tag("th", column, scope="col") for column in table.columns))
    rows = [tag("tr", *map(_entry, row)) for row in table.rows]
    return _scroll(
        tag("h4", table.title),
        tag("p", table.caption, class_="iv-caption") if table.caption else None,
        tag("table", tag("thead", head), tag("tbody", *rows), class_="iv-table"),
    )


def _entry(entry: str | int | float | None) -> Html:
    if isinstance(entry, str):
        return tag("td", entry, class_="iv-text")
    return tag("td", str(entry) if isinstance(entry, int) else format_number(entry))


def _scroll(heading: Html, *rest: Html | None) -> Html:
    *above, table = rest
    return join(heading, *above, tag("div", table, class_="iv-scroll"))


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
                *("answer ", tag("code", prompt.answer), " output ", tag("code", prompt.output)),
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
    facts |= {f"threshold {name}": value for name, value in cell.claim.thresholds.items()}
    sizes = ", ".join(f"{name} (n = {len(values)})" for name, values in cell.per_sample.items())
    if sizes:
        facts["per-sample values"] = f"{sizes}, in evidence.json"
    rows = [
        tag("tr", tag("th", key, scope="row"), tag("td", _fact(value)))
        for key, value in facts.items()
    ]
    return tag(
        "details",
        tag("summary", "Provenance and parameters"),
        tag("table", *rows, class_="iv-table iv-facts-table"),
        class_="iv-provenance",
    )


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact(item)}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)
