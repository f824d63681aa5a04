"""One cell of the report: its line, verdict and criteria; all else is packed until it is opened."""

import base64
import zlib

from ivevidence.figures.text import GLYPHS, OUTCOME_WORDS, format_number, threshold_text
from ivevidence.records.cells import CellRecord, Claim, Decision
from ivevidence.report.comparison import mark, mark_chip
from ivevidence.report.details import list_details, render_details
from ivevidence.report.html import Html, tag
from ivevidence.report.row_text import level_text
from ivevidence.report.tables import bounds, estimate_text, fact_text, headed_table


def render_cell(cell: CellRecord, name: str) -> Html:
    """Return the cell as a closed `<details>` with id `name`."""
    return tag(
        "details",
        _summary(cell),
        tag(
            "div",
            _verdict(cell.decision),
            tag("p", f"Judged on {cell.decision.chosen}.", class_="iv-chosen")
            if cell.decision.chosen
            else None,
            _criteria(cell.decision) if cell.decision.criteria else None,
            _packed(cell),
            class_="iv-body",
        ),
        id=name,
        class_="iv-cell",
        data_claim=cell.claim.name,
        data_checkpoint=cell.checkpoint,
        data_task=cell.task,
        data_verdict=cell.decision.verdict,
        data_expected=mark(cell),
    )


def render_claim(claim: Claim) -> Html:
    """Return the claim's words, what is estimated, and the rule with its thresholds."""
    thresholds = [tag("dt", "Thresholds"), tag("dd", fact_text(claim.thresholds))]
    evidence = level_text(claim.level, claim.direction) if claim.level else None
    return tag(
        "div",
        tag(
            "blockquote",
            tag("p", claim.quote),
            tag("footer", tag("cite", claim.paper), f", section {claim.section}"),
        ),
        tag(
            "dl",
            *(tag("dt", "Estimand"), tag("dd", claim.estimand)),
            *(tag("dt", "Rule"), tag("dd", claim.rule)),
            *(thresholds if claim.thresholds else ()),
            *((tag("dt", "Level"), tag("dd", evidence)) if evidence else ()),
            class_="iv-rule",
        ),
        class_="iv-claim",
    )


def verdict_chip(verdict: str) -> Html:
    """Return a verdict as glyph and word: never by color alone."""
    glyph = tag("span", GLYPHS[verdict], aria_hidden="true", class_="iv-glyph")
    return tag("span", glyph, verdict.replace("_", " "), class_="iv-verdict")


def _summary(cell: CellRecord) -> Html:
    leading = cell.decision.criteria[0] if cell.decision.criteria else None
    return tag(
        "summary",
        tag("span", verdict_chip(cell.decision.verdict), class_=f"iv-v-{cell.decision.verdict}"),
        tag("b", cell.checkpoint),
        tag("span", cell.task),
        tag("span", cell.metric, class_="iv-metric") if cell.metric else None,
        tag("span", f"planted: {cell.planted}", class_="iv-metric") if cell.planted else None,
        mark_chip(cell, full=True),
        tag("span", f"{leading.name} {estimate_text(leading)}", class_="iv-number")
        if leading
        else None,
    )


def _verdict(decision: Decision) -> Html:
    more = f"{decision.samples_to_decide} samples would decide"
    unsaid = decision.samples_to_decide and more not in decision.reason
    return tag(
        "p",
        verdict_chip(decision.verdict),
        tag("span", decision.reason),
        tag("span", f"About {more}.") if unsaid else None,
        class_=f"iv-outcome iv-v-{decision.verdict}",
    )


def _criteria(decision: Decision) -> Html:
    columns = ("criterion", "estimate", "bounds", "threshold", "margin", "n", "p", "outcome")
    rows = [
        tag(
            "tr",
            tag("th", c.name, tag("small", c.description) if c.description else None, scope="row"),
            tag("td", f"{format_number(c.estimate)} {c.unit}".rstrip()),
            tag("td", bounds(c.low, c.high)),
            tag("td", threshold_text(format_number(c.threshold), c.side)),
            tag("td", format_number(c.margin)),
            tag("td", str(c.n)),
            tag("td", format_number(c.p_value)),
            tag("td", OUTCOME_WORDS[c.outcome], class_=f"iv-o-{c.outcome}"),
        )
        for c in decision.criteria
    ]
    return headed_table("Criteria", columns, rows, class_="iv-table iv-criteria")


def _packed(cell: CellRecord) -> Html:
    """Return the rest, which the script unpacks on opening: it is most of a page."""
    packed = base64.b64encode(zlib.compress(render_details(cell).encode(), 9)).decode("ascii")
    fallback = tag("p", f"Unpacked by a script, and in the evidence file: {list_details(cell)}.")
    return tag("div", fallback, class_="iv-more", data_iv_packed=packed)
