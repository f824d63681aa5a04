"""Histories as one HTML fragment: figures and a table of numbers for each claim."""

from collections.abc import Sequence

from ivevidence.compare.history import ClaimHistory, Trace, history_figure
from ivevidence.compare.parts import comparison_style, drawn, wide_table
from ivevidence.figures.kinds import draw
from ivevidence.figures.text import NO_VALUE
from ivevidence.records.cells import CellRecord, Criterion
from ivevidence.report.cell import verdict_chip
from ivevidence.report.fragment import frame
from ivevidence.report.html import Html, tag
from ivevidence.report.run import count
from ivevidence.report.tables import estimate_text

_LEGEND = (
    "Marks are verdicts, at the estimate of the criterion that most checkpoints rest on. Bars are "
    "its bounds, open where it has none on that side; the dashed line is its threshold. Thin lines "
    "join checkpoints that follow one another."
)


def history_page(histories: Sequence[ClaimHistory], runs: Sequence[str]) -> Html:
    """Return the fragment, for any page's body; `runs` are the names of the runs, in order.

    Nothing is loaded from elsewhere, and all that comes from data is escaped.
    """
    return frame(
        comparison_style(),
        tag(
            "header",
            tag("p", "ivclaims · history", class_="iv-eyebrow"),
            tag("h1", "Claims over checkpoints"),
            tag("p", f"{count(len(runs), 'run')}: {', '.join(runs)}", class_="iv-facts"),
            tag("p", _LEGEND, class_="iv-facts iv-how"),
        ),
        *(map(_claim, histories) if histories else [tag("p", "No cell was judged.")]),
        label="History",
    )


def _claim(history: ClaimHistory) -> Html:
    claim = history.claim
    return tag(
        "section",
        tag("h2", claim.title),
        tag("p", f"{claim.name} · section {claim.section} · ", tag("cite", claim.paper)),
        tag("p", f"Rule: {claim.rule}", class_="iv-caption"),
        tag("div", *(_figure(history, trace) for trace in history.traces), class_="iv-grid"),
        _table(history),
        class_="iv-claim",
    )


def _figure(history: ClaimHistory, trace: Trace) -> Html:
    figure = history_figure(
        f"{history.claim.name}, {trace.name}",
        trace.criterion or "No criterion was put to the test.",
        history.labels,
        trace,
        history.groups,
    )
    return drawn(trace.name, figure.caption, draw(figure))


def _table(history: ClaimHistory) -> Html:
    """Return the numbers of the figures: rows tasks (and metrics), columns checkpoints."""
    columns = [tag("th", name, scope="col") for name in ("task", *history.labels)]
    rows = []
    for trace in history.traces:
        name = tag("th", trace.name, tag("small", trace.criterion or ""), scope="row")
        entries = map(_entry, trace.cells, trace.criteria)
        rows.append(tag("tr", name, *entries))
    caption = f"{history.claim.name}: verdict, estimate and bounds at each checkpoint"
    return wide_table(caption, tag("thead", tag("tr", *columns)), tag("tbody", *rows))


def _entry(cell: CellRecord | None, criterion: Criterion | None) -> Html:
    if cell is None:
        return tag("td", NO_VALUE, class_="iv-text")
    verdict = cell.decision.verdict
    numbers = tag("span", estimate_text(criterion), class_="iv-number") if criterion else None
    return tag("td", verdict_chip(verdict), numbers, class_=f"iv-text iv-v-{verdict}")
