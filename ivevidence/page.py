"""A whole document around a report: one file that loads nothing from elsewhere."""

from ivevidence.html import Html, tag

# Only what stands in the file itself, and nothing sent anywhere.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def page(title: str, body: Html) -> str:
    """Return a self-contained HTML document around `body`, as `ivevidence.report.frame` makes it.

    `title` is text and gets escaped.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", tag("main", body)), lang="en") + "\n"
