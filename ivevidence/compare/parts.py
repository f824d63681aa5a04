"""Parts of the pages that compare runs: styles, figures, tables with captions."""

from ivevidence.report.html import Html, tag
from ivevidence.report.page import style


def comparison_style() -> Html:
    """Return the styles of pages that compare runs, beside the report's."""
    return style("comparison.css")


def drawn(title: str, caption: str, svg: str) -> Html:
    """Return a figure with its caption."""
    said = tag("figcaption", tag("b", title), " ", caption)
    return tag("figure", said, Html(svg), class_="iv-figure iv-history")


def wide_table(title: str, *parts: Html) -> Html:
    """Return a table with a caption that scrolls where it is wide, with the keyboard too."""
    table = tag("table", tag("caption", title), *parts, class_="iv-table iv-compared")
    return tag("div", table, class_="iv-scroll", tabindex=0, role="region", aria_label=title)


def head(*names: str) -> Html:
    """Return the head of a table."""
    return tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
