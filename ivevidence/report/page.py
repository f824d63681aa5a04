"""A whole document around a report: one file that loads nothing from elsewhere."""

import base64
import functools
import hashlib
import importlib.resources
from collections.abc import Iterable

from ivevidence.report.html import Html, join, tag

STYLES = ("report.css", "comparison.css")
SCRIPT = "report.js"


def page(title: str, body: Html) -> str:
    """Return a self-contained HTML document around `body`, as `report.fragment.frame` makes it.

    `title` is text and gets escaped.
    """
    styles = " ".join(_hash(asset(name)) for name in STYLES)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        page_rules([asset(SCRIPT)], f"style-src {styles}; img-src data:"),
        tag("title", title),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", tag("main", body)), lang="en") + "\n"


def page_rules(scripts: Iterable[str], sources: str) -> Html:
    """Return what a page's head says before all else: how it is shown, and what it may do.

    Of scripts, those of exactly these texts run. `sources` says where styles and images come from,
    as a Content Security Policy does; nothing else is loaded, and nothing is sent anywhere.
    """
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; {sources}; "
        "base-uri 'none'; form-action 'none'"
    )
    return join(
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
    )


def style(name: str) -> Html:
    """Return one of `STYLES` as an element."""
    return Html(f"<style>{asset(name)}</style>")


@functools.cache
def asset(name: str) -> str:
    """Return the text of a style sheet or script of the package."""
    return (importlib.resources.files("ivevidence") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
