"""HTML that is escaped unless it was built here."""

import html

from ivevidence.figures.svg import visible_text


class Html(str):
    """Markup that is safe to insert; any other string is text and gets escaped."""

    __slots__ = ()


def tag(element: str, /, *children: str | None, **attributes: str | int | bool | None) -> Html:
    """Return an element. Texts in `children` and `attributes` are escaped, None is left out.

    `class_` and `for_` lose their underscore, other underscores become hyphens.
    """
    parts = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.removesuffix("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if element in _VOID else f"{opening}{join(*children)}</{element}>")


def join(*children: str | None) -> Html:
    """Return the children side by side, texts escaped, None left out."""
    return Html("".join(escape(child) for child in children if child is not None))


def escape(text: str) -> Html:
    """Return `text` for use between tags or in a quoted attribute; markup built here as it is."""
    if isinstance(text, Html):
        return text
    lines = text.replace("\r\n", "\n").split("\n")
    return Html(html.escape("\n".join(map(visible_text, lines)), quote=True))


_VOID = {"br", "hr", "input", "meta", "wbr"}
