"""Tables of the report: with a heading above, or facts by name."""

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

from ivevidence.figures.text import format_number
from ivevidence.records.cells import Criterion, Expectation
from ivevidence.report.html import Html, join, tag


def headed_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Html],
    *,
    texts: Container[int] = (),
    caption: str = "",
    class_: str = "iv-table",
) -> Html:
    """Return a heading and a table of `rows` (each a `<tr>`) that scrolls where it is wide.

    `texts` are the columns that hold texts: they and their names stand to the left.
    """
    head = tag(
        "tr",
        *(
            tag("th", column, scope="col", class_="iv-text" if k in texts else None)
            for k, column in enumerate(columns)
        ),
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_=class_, aria_label=title)
    return join(
        tag("h4", title),
        tag("p", caption, class_="iv-caption") if caption else None,
        tag("div", table, class_="iv-scroll"),
    )


def bounds(low: float | None, high: float | None) -> str:
    """Return an interval as the report writes it; a dash where there is none."""
    if low is None and high is None:
        return format_number(None)
    return f"[{format_number(low)}, {format_number(high)}]"


def estimate_text(found: Criterion | Expectation) -> str:
    """Return an estimate with its bounds."""
    return f"{format_number(found.estimate)} {bounds(found.low, found.high)}"


def facts_table(facts: Mapping[str, Any], *, label: str) -> Html:
    """Return a table with a row a fact: its name and its value, which may be markup."""
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", fact_text(value)))
        for name, value in facts.items()
    ]
    return tag("table", *rows, class_="iv-table iv-facts-table", aria_label=label)


def fact_text(value: Any) -> str:
    """Return a value as the report writes it: no braces, four digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {fact_text(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
