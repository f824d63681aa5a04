"""What pytest-html's page lacks: a policy, a language, one heading of the first rank."""

import re

from ivevidence.report.page import SCRIPT, asset, page_rules

_START = '<html>\n  <head>\n    <meta charset="utf-8"/>'
_SCRIPT = re.compile("<script>(.*?)</script>", re.DOTALL)
_TITLE = re.compile('<h1 id="title">(.*?)</h1>', re.DOTALL)


def completed(page: str) -> str:
    """Return pytest-html's page with them; a page of another form stays as it is.

    Two scripts run: the evidence's, and pytest-html's own, the last of the page. Neither needs
    `unsafe-eval` or handlers in attributes (but for a button that reloads the page of a run that
    is not over). Styles need `unsafe-inline`: rows and extras of other plugins may carry any. What
    stands beside a page that is not self-contained is `self`.
    """
    scripts = _SCRIPT.findall(page)
    if not scripts or _START not in page:
        return page
    sources = "style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:"
    head = page_rules([asset(SCRIPT), scripts[-1]], sources)
    page = page.replace(_START, _START.replace("<html>", '<html lang="en">') + head, 1)
    return _TITLE.sub(r'<p id="title">\1</p>', page, count=1)
